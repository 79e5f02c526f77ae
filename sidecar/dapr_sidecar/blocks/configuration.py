"""What the configuration API means, for both transports."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.outbound import measured
from dapr_sidecar.components.configuration.base import ConfigurationStore, Item
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

_LOG = get_logger("dapr.runtime.configuration")
_KIND = "Configuration"
T = TypeVar("T")

Receive = Callable[[str, Mapping[str, Item]], Awaitable[None]]
"""Takes a subscription's id and the items that changed."""


class _Subscription:
    """One live subscription; ``component_id`` is the store's own name for it."""

    __slots__ = ("component", "component_id", "ended", "id", "keys", "metadata", "receive", "store")

    def __init__(
        self,
        store: str,
        keys: Sequence[str],
        metadata: Mapping[str, str],
        receive: Receive,
        ended: Callable[[], None],
    ) -> None:
        self.id = str(uuid.uuid4())
        self.store = store
        self.keys = keys
        self.metadata = metadata
        self.receive = receive
        self.ended = ended
        self.component: ConfigurationStore | None = None
        self.component_id = ""

    async def begin(self, component: ConfigurationStore) -> None:
        """Follow the keys in this component."""
        self.component_id = await component.subscribe(self.keys, self.metadata, self._changed)
        self.component = component

    async def _changed(self, items: Mapping[str, Item]) -> None:
        await self.receive(self.id, items)


class ConfigurationBlock:
    """Reads values and follows their changes."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context
        self._live: dict[str, _Subscription] = {}
        self._lock = asyncio.Lock()

    async def get(
        self, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> Mapping[str, Item]:
        """Values by key, all of them when no key is named. Raises ``DaprError``."""
        component = self._store(store).component
        try:
            return await self._call(store, "get", lambda: component.get(keys, metadata))
        except Exception as error:
            shown = " ".join(keys)
            text = f"failed to get [{shown}] from Configuration store {store}: {error}"
            raise DaprError.basic("ERR_CONFIGURATION_GET", text) from error

    async def subscribe(
        self,
        store: str,
        keys: Sequence[str],
        metadata: Mapping[str, str],
        receive: Receive,
        ended: Callable[[], None] = lambda: None,
    ) -> str:
        """Follow keys until ``unsubscribe``; returns the id. Raises ``DaprError``.

        ``ended`` is called when something else ended the subscription.
        """
        component = self._store(store).component
        subscription = _Subscription(store, keys, metadata, receive, ended)
        try:
            await self._call(store, "subscribe", lambda: subscription.begin(component))
        except Exception as error:
            shown = " ".join(keys)
            raise DaprError.basic(
                "ERR_CONFIGURATION_SUBSCRIBE",
                f"failed to subscribe [{shown}] from Configuration store {store}: {error}",
                grpc_code=GrpcCode.INVALID_ARGUMENT,
            ) from error
        self._live[subscription.id] = subscription
        await self.component_changed(store)  # it may have been replaced meanwhile
        return subscription.id

    async def unsubscribe(self, store: str, subscription_id: str) -> None:
        """End a subscription. Raises ``DaprError``."""
        self._store(store)
        subscription = self._live.get(subscription_id)
        if subscription is None or subscription.store != store:
            raise _unsubscribe_failed(
                subscription_id, f"subscription with id {subscription_id} does not exist"
            )
        del self._live[subscription_id]
        subscription.ended()
        try:
            await self._call(store, "unsubscribe", lambda: _end(subscription))
        except Exception as error:
            raise _unsubscribe_failed(subscription_id, error) from error

    async def forget(self, subscription_id: str) -> None:
        """The subscriber is gone; nothing happens when the subscription is, too."""
        subscription = self._live.get(subscription_id)
        if subscription is not None:
            await self._drop(subscription)

    def require(self, store: str) -> None:
        """Raise ``DaprError`` unless there is a store of this name."""
        self._store(store)

    async def component_changed(self, name: str) -> None:
        """A store of this name came, changed or went: its subscriptions move or end with it."""
        async with self._lock:
            loaded = self.context.components.configuration.get(name)
            for subscription in [s for s in self._live.values() if s.store == name]:
                if loaded is None:
                    await self._drop(subscription)
                elif loaded.component is not subscription.component:
                    await self._move(subscription, loaded.component)

    async def drain(self) -> None:
        """End every subscription."""
        await asyncio.gather(*(self._drop(one) for one in list(self._live.values())))

    async def _move(self, subscription: _Subscription, component: ConfigurationStore) -> None:
        await _end_quietly(subscription)
        try:
            await subscription.begin(component)
        except Exception as error:  # noqa: BLE001 - whatever it was, the subscriber must be told
            _LOG.error("configuration subscription %s ended: %s", subscription.id, error)
            await self._drop(subscription)

    async def _drop(self, subscription: _Subscription) -> None:
        self._live.pop(subscription.id, None)
        subscription.ended()
        await _end_quietly(subscription)

    def _store(self, name: str) -> Loaded[ConfigurationStore]:
        stores = self.context.components.configuration
        if not stores:
            raise DaprError.basic(
                "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
                "configuration stores not configured",
                grpc_code=GrpcCode.FAILED_PRECONDITION,
            )
        loaded = stores.get(name)
        if loaded is None:
            raise DaprError.basic(
                "ERR_CONFIGURATION_STORE_NOT_FOUND",
                f"configuration store {name} not found",
                http_status=400,
                grpc_code=GrpcCode.INVALID_ARGUMENT,
            )
        return loaded

    async def _call(self, store: str, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        return await measured(self.context, "configuration", _KIND, store, operation, call)


async def _end(subscription: _Subscription) -> None:
    component, subscription.component = subscription.component, None
    if component is not None:
        await component.unsubscribe(subscription.component_id)


async def _end_quietly(subscription: _Subscription) -> None:
    try:
        await _end(subscription)
    except Exception as error:  # noqa: BLE001 - a component that is closed has forgotten it already
        _LOG.debug("configuration subscription %s: %s", subscription.id, error)


def _unsubscribe_failed(subscription_id: str, cause: object) -> DaprError:
    text = f"failed to unsubscribe to configuration request {subscription_id}: {cause}"
    return DaprError("ERR_CONFIGURATION_UNSUBSCRIBE", text)
