"""Changes of one kind on their way to the sidecars they are for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.informer import Change, Key
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.operator.v1.operator_pb2 import ResourceEventType
from dapr_operator.cache import KindCache
from dapr_operator.kinds import CONFIGURATION, DaprKind
from dapr_operator.pending import PendingChanges
from dapr_operator.resource import Resource
from dapr_operator.scoping import DELETED, event_type
from dapr_operator.secret_values import Filled
from dapr_operator.secrets import SecretReader, SecretsUnreachableError
from dapr_operator.streams import Subscription

_LOG = get_logger("dapr.operator.feed")
_LOOK_AGAIN_SECONDS = 5.0
_MOST_LOOKED_AGAIN = 100

Encode = Callable[[bytes, ResourceEventType], bytes]
MissingChanged = Callable[[DaprKind, Resource, tuple[str, ...]], None]


class Feed:
    """Everybody who follows one kind.

    An event is made once for all its receivers. Changes of one object that come faster than they
    leave become one. Values whose secret is missing are looked for again, and the object is sent
    anew when they are there.
    """

    def __init__(
        self, cache: KindCache, encode: Encode, secrets: SecretReader, missing: MissingChanged
    ) -> None:
        self._cache = cache
        self._encode = encode
        self._secrets = secrets
        self._say_missing = missing
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._changes = PendingChanges()
        self._incomplete: dict[Key, tuple[str, ...]] = {}
        self._changed = asyncio.Event()
        self._closed: RpcError | None = None
        cache.on_change(self._take)

    @property
    def size(self) -> int:
        """Streams that are open."""
        return sum(map(len, self._subscriptions.values()))

    @contextmanager
    def subscribed(self, subscription: Subscription) -> Iterator[None]:
        """Whatever changes meanwhile is put into the subscription. Raises ``RpcError``."""
        if self._closed is not None:
            raise self._closed
        namespace = subscription.namespace
        self._subscriptions.setdefault(namespace, set()).add(subscription)
        try:
            yield
        finally:
            followers = self._subscriptions[namespace]
            followers.discard(subscription)
            if not followers:
                del self._subscriptions[namespace]

    def close(self) -> None:
        """End every stream, and let no more begin."""
        self._closed = RpcError(GrpcCode.UNAVAILABLE, "operator is shutting down")
        for followers in list(self._subscriptions.values()):
            for subscription in list(followers):
                subscription.end(self._closed)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_changes())
            tasks.create_task(self._look_again())

    def _take(self, change: Change[Resource]) -> None:
        self._changes.add(change)
        self._changed.set()

    # --- sending ----------------------------------------------------------------------------

    async def _send_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._changes:
                change = self._changes.take()
                try:
                    await self._send(change)
                except Exception:  # noqa: BLE001 - the next change has its own chance
                    _LOG.exception("A change of %s %s/%s was not sent", self._word, *change.key)

    async def _send(self, change: Change[Resource]) -> None:
        if change.after is None:
            self._incomplete.pop(change.key, None)
            self._deliver(change, b"")
            return
        try:
            filled = await self._secrets.filled(self._cache.kind, change.after)
        except SecretsUnreachableError as error:
            self._note(change.after, (str(error),))
            return  # looked for again
        if self._note(change.after, filled.missing) and self._is_useless(filled):
            return
        self._deliver(change, _text(change.after, filled))

    def _note(self, resource: Resource, missing: tuple[str, ...]) -> bool:
        """Remember what is missing. Returns whether something is."""
        if self._incomplete.get(resource.key, ()) != missing:
            self._say_missing(self._cache.kind, resource, missing)
        if missing:
            self._incomplete[resource.key] = missing
        else:
            self._incomplete.pop(resource.key, None)
        return bool(missing)

    def _is_useless(self, filled: Filled) -> bool:
        """Sidecars keep the Configuration that works rather than take half of another."""
        return self._cache.kind == CONFIGURATION and bool(filled.missing)

    def _deliver(self, change: Change[Resource], after: bytes) -> None:
        namespace, name = change.key
        followers = self._subscriptions.get(namespace)
        if not followers:
            return
        messages: dict[ResourceEventType, bytes] = {}
        for subscription in list(followers):
            kind = event_type(change.before, change.after, subscription.app_id)
            if kind == ResourceEventType.UNKNOWN or not subscription.wants(name):
                continue
            if (message := messages.get(kind)) is None:
                old = change.before if kind == DELETED else None
                message = self._encode(after if old is None else old.json, kind)
                messages[kind] = message
            subscription.put(message)

    # --- what was missing -------------------------------------------------------------------

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            for key in list(self._incomplete)[:_MOST_LOOKED_AGAIN]:
                await self._look_again_at(key)

    async def _look_again_at(self, key: Key) -> None:
        missing = self._incomplete.pop(key, ())
        resource = self._cache.get(*key)
        if resource is None or key in self._changes:
            return
        self._incomplete[key] = missing  # now the last one: of many, each has its turn
        try:
            filled = await self._secrets.filled(self._cache.kind, resource)
        except SecretsUnreachableError:
            return
        if filled.missing == missing or self._cache.get(*key) is not resource:
            return
        self._note(resource, filled.missing)
        if not self._is_useless(filled):
            self._deliver(Change(key, resource, resource), _text(resource, filled))

    @property
    def _word(self) -> str:
        return self._cache.kind.word


def _text(resource: Resource, filled: Filled) -> bytes:
    return resource.json_of(filled.body) if resource.secrets else resource.json
