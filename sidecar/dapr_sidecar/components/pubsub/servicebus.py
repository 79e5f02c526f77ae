"""``pubsub.azure.servicebus``: topics with subscriptions, or queues."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.servicebus import ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.exceptions import ServiceBusError

from dapr_common.words import is_truthy
from dapr_sidecar.components.azure.tokens import TokenSource
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.pubsub.base import (
    BulkHandler,
    BulkPublishEntry,
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)
from dapr_sidecar.components.pubsub.batching import Batcher
from dapr_sidecar.components.pubsub.servicebus_endpoint import Endpoint
from dapr_sidecar.components.pubsub.servicebus_identity import Identity
from dapr_sidecar.components.pubsub.servicebus_messages import outgoing
from dapr_sidecar.components.pubsub.servicebus_senders import Senders, close_quietly
from dapr_sidecar.components.pubsub.servicebus_session import ServiceBusSession
from dapr_sidecar.components.pubsub.servicebus_settings import ServiceBusSettings

_RESOURCE = "https://servicebus.azure.net"


class _ServiceBus(PubSub):
    """What topics and queues share."""

    features = (Feature.MESSAGE_TTL, Feature.BULK_PUBSUB)

    def __init__(self, settings: ServiceBusSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        settings.check()
        self._config = settings
        self._group = settings.consumer_id.strip() or context.app_id
        self._identity: Any = None
        if not settings.connection_string:
            self._identity = Identity(TokenSource(settings, _RESOURCE))
        self._client: ServiceBusClient | None = None
        self._made: set[str] = set()
        self._seconds = settings.timeout.total_seconds()
        self._endpoint = Endpoint.of(settings)
        self._silent = f"Service Bus at {self._endpoint.shown} did not answer"
        self._senders = Senders(self._ready_sender, self._seconds, self._silent)

    async def open(self) -> None:
        """Connections are made when they are used; what names them is checked here."""
        config = self._config
        options: dict[str, Any] = {
            "retry_total": config.publish_retries,
            "retry_backoff_factor": config.publish_interval.total_seconds(),
        }
        if config.connection_string:
            text = config.connection_string
            self._client = ServiceBusClient.from_connection_string(text, **options)
        else:
            self._client = ServiceBusClient(config.namespace, self._identity, **options)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        await self._senders.close()
        await close_quietly(client)

    async def ping(self) -> None:
        async with within(self._seconds, self._silent):
            await self._endpoint.greet()

    @property
    def _bus(self) -> ServiceBusClient:
        assert self._client is not None
        return self._client

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, request: PublishRequest) -> None:
        message = outgoing(request.data, request.metadata, request.content_type)
        await self._send(request.topic, message)

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        """As few requests as the service's size of one allows; what one has fails together."""
        failed: dict[str, Exception] = {}
        waiting = list(entries)
        while waiting:
            try:
                batch = await self._new_batch(topic)
                taken = _fill(batch, waiting, failed)
            except (ServiceBusError, OSError, TimeoutError) as error:
                return failed | {entry.entry_id: error for entry in waiting}
            try:
                if len(batch):
                    await self._send(topic, batch)
            except (ServiceBusError, OSError, TimeoutError) as error:
                failed |= {entry.entry_id: error for entry in waiting[:taken]}
            waiting = waiting[taken:]
        return failed

    async def _new_batch(self, topic: str) -> ServiceBusMessageBatch:
        async with self._senders.turn(topic) as sender:
            return await sender.create_message_batch()  # asks the service how large it may be

    async def _send(self, topic: str, message: Any) -> None:
        async with self._senders.turn(topic) as sender:
            await sender.send_messages(message)

    async def _ready_sender(self, topic: str) -> ServiceBusSender:
        await self._ensure(topic, "")
        return self._new_sender(topic)

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        return await self._receive(topic, metadata, handler, 1, None)

    async def bulk_subscribe(
        self,
        topic: str,
        metadata: Mapping[str, str],
        max_messages: int,
        max_await_seconds: float,
        handler: BulkHandler,
    ) -> Subscription:
        """Batches may be larger than ``maxConcurrentHandlers``."""
        batcher = Batcher(handler, max_messages, max_await_seconds)
        return await self._receive(topic, metadata, batcher.handle, max_messages, batcher)

    async def _receive(
        self,
        topic: str,
        metadata: Mapping[str, str],
        handler: MessageHandler,
        least: int,
        batcher: Batcher | None,
    ) -> Subscription:
        given = {name.lower(): value for name, value in metadata.items()}
        if is_truthy(given.get("requiresessions", "")):
            raise ValueError("metadata 'requireSessions': sessions are not available yet")
        await self._ensure(topic, self._group)
        config = self._config
        limit = max(config.max_active, 2 * least)
        timeout = config.handler_timeout.total_seconds() or None

        async def handle(message: Message) -> None:
            async with asyncio.timeout(timeout):
                await handler(message)

        async def opener(put: Callable[[Delivery[Message]], None]) -> Session:
            session = ServiceBusSession(
                self._new_receiver(topic),
                topic,
                config.lock_renewal.total_seconds(),
                put,
                receiver.room,
            )
            await session.open()
            return session

        receiver: Receiver[Message] = Receiver(
            f"{topic} of Service Bus",
            opener,
            handle,
            concurrency=max(config.max_handlers or limit, least),
            limit=limit,
            pause=config.recovery_min.total_seconds(),
            flush=None if batcher is None else batcher.close,
        )
        await receiver.start()
        return receiver

    # --- entities ---------------------------------------------------------------------------

    async def _ensure(self, topic: str, subscription: str) -> None:
        """Make what is not there yet, unless the manifest forbids it."""
        name = f"{topic}/{subscription}"
        if self._config.no_management or name in self._made:
            return
        async with within(self._seconds, self._silent), self._admin() as admin:
            await self._make(admin, topic, subscription)
        self._made.add(name)

    def _admin(self) -> ServiceBusAdministrationClient:
        if self._config.connection_string:
            return ServiceBusAdministrationClient.from_connection_string(
                self._config.connection_string
            )
        return ServiceBusAdministrationClient(self._config.namespace, self._identity)

    @abstractmethod
    async def _make(
        self, admin: ServiceBusAdministrationClient, topic: str, subscription: str
    ) -> None: ...

    @abstractmethod
    def _new_sender(self, topic: str) -> ServiceBusSender: ...

    @abstractmethod
    def _new_receiver(self, topic: str) -> ServiceBusReceiver: ...


class ServiceBusTopics(_ServiceBus):
    """Every consumer group has a subscription of its name."""

    settings = ServiceBusSettings

    async def _make(
        self, admin: ServiceBusAdministrationClient, topic: str, subscription: str
    ) -> None:
        await _unless_there(admin.create_topic(topic))
        if subscription:
            described: dict[str, Any] = self._config.described()
            await _unless_there(admin.create_subscription(topic, subscription, **described))

    def _new_sender(self, topic: str) -> ServiceBusSender:
        return self._bus.get_topic_sender(topic)

    def _new_receiver(self, topic: str) -> ServiceBusReceiver:
        return self._bus.get_subscription_receiver(topic, self._group)


class ServiceBusQueues(_ServiceBus):
    """A topic is a queue: whoever subscribes competes with all others."""

    settings = ServiceBusSettings

    async def _make(
        self, admin: ServiceBusAdministrationClient, topic: str, subscription: str
    ) -> None:
        described: dict[str, Any] = self._config.described()
        await _unless_there(admin.create_queue(topic, **described))

    def _new_sender(self, topic: str) -> ServiceBusSender:
        return self._bus.get_queue_sender(topic)

    def _new_receiver(self, topic: str) -> ServiceBusReceiver:
        return self._bus.get_queue_receiver(topic)


async def _unless_there(making: Any) -> None:
    try:
        await making
    except ResourceExistsError:
        return


def _fill(
    batch: ServiceBusMessageBatch,
    entries: Sequence[BulkPublishEntry],
    failed: dict[str, Exception],
) -> int:
    """Put as many as fit; returns how many were looked at. One that never fits has failed."""
    for at, entry in enumerate(entries):
        try:
            batch.add_message(outgoing(entry.data, entry.metadata, entry.content_type))
        except ValueError as error:  # that of a batch that is full is one, too
            if len(batch):
                return at
            failed[entry.entry_id] = error
            return at + 1
    return len(entries)
