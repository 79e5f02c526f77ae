"""One subscription kept alive: started at its broker, tried again until that works, stopped."""

from __future__ import annotations

import asyncio
from typing import Literal

from dapr_common.kube.resources import Subscription
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.pubsub.app_grpc import GrpcSender
from dapr_sidecar.blocks.pubsub.app_http import HttpSender
from dapr_sidecar.blocks.pubsub.bulk import BulkDelivery
from dapr_sidecar.blocks.pubsub.bulk_senders import GrpcBulkSender, HttpBulkSender
from dapr_sidecar.blocks.pubsub.dead_letters import DeadLetters
from dapr_sidecar.blocks.pubsub.delivery import Delivery
from dapr_sidecar.blocks.pubsub.publish import Prepared, PubSubBlock, raw_payload
from dapr_sidecar.blocks.pubsub.routing import Routes
from dapr_sidecar.blocks.pubsub.verdict import Sender
from dapr_sidecar.components.pubsub.base import BulkSubscriber, Message, PubSub
from dapr_sidecar.components.pubsub.base import Subscription as BrokerSubscription
from dapr_sidecar.components.pubsub.batching import Batcher
from dapr_sidecar.loaded import Loaded

_LOG = get_logger("dapr.runtime.pubsub.subscription")
_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 0.5, 1.5, 60.0
_MAX_MESSAGES, _MAX_AWAIT_MS = 100, 1000

Kind = Literal["DECLARATIVE", "PROGRAMMATIC", "STREAMING"]


class NotAllowedError(Exception):
    """The component's scopes keep this app from the topic."""

    def __init__(self, topic: str, pubsub: str) -> None:
        super().__init__(f"subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed")


class MissingError(Exception):
    """The pubsub component of the subscription is not loaded."""


class _Closing:
    """A broker subscription whose single deliveries were gathered into batches."""

    def __init__(self, inner: BrokerSubscription, batcher: Batcher) -> None:
        self._inner = inner
        self._batcher = batcher

    async def close(self) -> None:
        closing = asyncio.ensure_future(self._inner.close())
        await self._batcher.close()
        await closing


class Subscriber:
    """Owns the task and the broker subscription of one (pubsub, topic)."""

    def __init__(
        self,
        block: PubSubBlock,
        subscription: Subscription,
        kind: Kind,
        sender: Sender | None = None,
    ) -> None:
        """``sender`` is where events go; ``None``: to the app."""
        self._block = block
        self.subscription = subscription
        self.kind: Kind = kind
        self._sender = sender
        self._task: asyncio.Task[None] | None = None
        self._live: BrokerSubscription | None = None
        self._tried = asyncio.Event()

    async def start(self) -> None:
        """Try once, and return; a failed start goes on being tried in the background."""
        if self._task is not None:
            return
        self._tried.clear()
        self._task = asyncio.get_running_loop().create_task(self._keep_trying())
        await self._tried.wait()

    async def open(self) -> None:
        """Start now or raise."""
        self._live = await self._subscribe()

    async def close(self) -> None:
        """Stop deliveries, wait for those that run; unacknowledged messages stay at the broker."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        live, self._live = self._live, None
        if live is not None:
            await live.close()

    async def _keep_trying(self) -> None:
        wait = _FIRST_WAIT
        pubsub, topic = self.subscription.pubsub_name, self.subscription.topic
        while True:
            try:
                self._live = await self._subscribe()
            except (MissingError, NotAllowedError, ValueError) as error:
                _LOG.error("subscription to topic %s on %s is not used: %s", topic, pubsub, error)
                self._tried.set()
                return  # nothing changes until a reload, and that starts it anew
            except Exception as error:  # noqa: BLE001 - tried again for ever, and said each time
                _LOG.error("failed to subscribe to topic %s on %s: %s", topic, pubsub, error)
                self._tried.set()
            else:
                self._tried.set()
                return
            await asyncio.sleep(wait)
            wait = min(wait * _WAIT_FACTOR, _LONGEST_WAIT)

    async def _subscribe(self) -> BrokerSubscription:
        subscription = self.subscription
        loaded = self._block.context.components.pubsub.get(subscription.pubsub_name)
        if loaded is None:
            raise MissingError(f"pubsub {subscription.pubsub_name} is not found")
        topic = self._broker_topic(loaded)
        raw = raw_payload(subscription.metadata)
        default = self._default_route()
        if default is None and not subscription.rules:
            raise ValueError("it has no route")
        routes = Routes(subscription.rules, default)
        dead_letters = DeadLetters(
            self._block.publish_stored, subscription.pubsub_name, subscription.dead_letter_topic
        )
        if subscription.bulk.enabled and self._sender is None:
            return await self._subscribe_bulk(loaded.component, topic, routes, dead_letters, raw)
        sender = self._sender or self._app_sender()
        delivery = Delivery(
            self._block.context, subscription, routes, sender, dead_letters, raw=raw
        )
        _LOG.debug("subscribing to topic %s on %s", subscription.topic, subscription.pubsub_name)
        return await loaded.component.subscribe(topic, subscription.metadata, delivery.handle)

    def _broker_topic(self, loaded: Loaded[PubSub]) -> str:
        topic = self.subscription.topic
        prepared = loaded.extra
        if not isinstance(prepared, Prepared):
            return topic
        if not prepared.scopes.may_subscribe(topic):
            raise NotAllowedError(topic, self.subscription.pubsub_name)
        return prepared.prefix + topic

    def _default_route(self) -> str | None:
        subscription = self.subscription
        if subscription.default_route:
            return subscription.default_route
        # A gRPC app may leave routes out altogether: its one method takes every event.
        return "" if not subscription.rules and self._is_grpc() else None

    def _is_grpc(self) -> bool:
        channel = self._block.context.channel
        return channel is not None and channel.kind == "grpc"

    def _app_sender(self) -> Sender:
        context = self._block.context
        if self._is_grpc():
            return GrpcSender(context)
        return HttpSender(context, self.subscription.pubsub_name)

    async def _subscribe_bulk(
        self,
        component: PubSub,
        topic: str,
        routes: Routes,
        dead_letters: DeadLetters,
        raw: bool,
    ) -> BrokerSubscription:
        context, subscription = self._block.context, self.subscription
        kind = GrpcBulkSender if self._is_grpc() else HttpBulkSender
        sender = kind(context, subscription.pubsub_name, subscription.topic)
        delivery = BulkDelivery(context, subscription, routes, sender, dead_letters, raw=raw)
        max_messages = subscription.bulk.max_messages_count
        if max_messages <= 0:
            max_messages = _MAX_MESSAGES
        max_await_ms = subscription.bulk.max_await_duration_ms
        if max_await_ms <= 0:
            max_await_ms = _MAX_AWAIT_MS
        if isinstance(component, BulkSubscriber):
            return await component.bulk_subscribe(
                topic, subscription.metadata, max_messages, max_await_ms / 1000, delivery.handle
            )
        batcher = Batcher(delivery.handle, max_messages, max_await_ms / 1000)

        async def handle(message: Message) -> None:
            await batcher.handle(message)

        inner = await component.subscribe(topic, subscription.metadata, handle)
        return _Closing(inner, batcher)
