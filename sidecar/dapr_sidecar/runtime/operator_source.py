"""Resources from the operator: listed, then kept current by its streams."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.manifests import ManifestError
from dapr_common.kube.resources import Component, Configuration
from dapr_common.observe.logs import get_logger
from dapr_common.security.x509 import CertificateError
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_sidecar.runtime.operator_client import (
    COMPONENTS,
    CONFIGURATIONS,
    LISTED,
    OperatorClient,
    Updates,
    WatchedKind,
)
from dapr_sidecar.runtime.operator_manifests import Received, receive
from dapr_sidecar.runtime.resources import Key, Resources, SourceError

_LOG = get_logger("dapr.runtime.loader.operator")
_TRIES = 100
_REGISTERED_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 3.0
_REFUSED_SECONDS = 60.0
_FINAL = frozenset({GrpcCode.PERMISSION_DENIED, GrpcCode.UNIMPLEMENTED})


class OperatorSource:
    """A table of what the operator told. ``load`` first, then ``read`` and ``follow``."""

    def __init__(
        self,
        client: OperatorClient,
        *,
        app_id: str,
        configuration_name: str,
        builtin: Component | None,
        interval: float,
    ) -> None:
        """``builtin`` is the secret store of the cluster; ``interval`` is in seconds."""
        self._client = client
        self._app_id = app_id
        self._configuration_name = configuration_name
        self._builtin = builtin
        self._interval = interval
        self._tables: dict[str, dict[str, Received]] = {kind.name: {} for kind in LISTED}
        self._tables[CONFIGURATIONS.name] = {}

    # --- reading ----------------------------------------------------------------------------

    async def load(self) -> Resources:
        """List everything, patiently. Raises ``SourceError`` when the operator refuses."""
        if self._configuration_name:
            await _patiently("the Configuration", partial(self._list, CONFIGURATIONS))
        for kind in LISTED:
            await _patiently(f"{kind.name} resources", partial(self._list, kind))
        return self.read()

    def read(self) -> Resources:
        """What the table has now."""
        faults: dict[Key, str] = {}
        versions: dict[Key, str] = {}
        found = Resources(faults=faults, versions=versions)
        own = self._tables[COMPONENTS.name]
        if self._builtin is not None and self._builtin.name not in own:
            found.components.append(self._builtin)
        for kind, table in self._tables.items():
            for name, received in table.items():
                key = (kind, name)
                versions[key] = received.version
                if received.fault:
                    faults[key] = received.fault
                if received.resource is None and kind == COMPONENTS.name and received.is_required:
                    found.unreadable[name] = received.fault
                if received.resource is not None:
                    found.add(received.resource, self._app_id, self._client.namespace)
        found.configuration = next(iter(found.configurations), Configuration())
        return found

    # --- following --------------------------------------------------------------------------

    async def follow(self, changed: asyncio.Event) -> None:
        """Keep the table current; what the streams missed is found by listing again."""
        kinds = [*LISTED, CONFIGURATIONS] if self._configuration_name else [*LISTED]
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                name = f"follow {kind.name}"
                tasks.create_task(self._follow(kind, changed), name=name)

    async def _follow(self, kind: WatchedKind, changed: asyncio.Event) -> None:
        backoff = Backoff(limit=_LONGEST_PAUSE_SECONDS, jitter=0.5)
        while True:
            try:
                async with self._client.updates(kind) as updates:
                    await updates.wait_registered(_REGISTERED_SECONDS)
                    await self._list_again(kind, updates, changed)
                    backoff.reset()
                    await self._take_all(kind, updates, changed)
                _LOG.debug("updates of %s resources ended", kind.name)
            except RpcError as error:
                if error.code is GrpcCode.UNIMPLEMENTED:
                    _LOG.debug("the operator does not tell of changes of %s resources", kind.name)
                    return
                _LOG.warning("updates of %s resources ended: %s", kind.name, error)
                if error.code is GrpcCode.PERMISSION_DENIED:
                    await asyncio.sleep(_REFUSED_SECONDS)
            await asyncio.sleep(backoff.next())

    async def _take_all(self, kind: WatchedKind, updates: Updates, changed: asyncio.Event) -> None:
        """Until the stream ends. One task lists and takes events, so neither undoes the other."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._pause(0.1)  # the kinds in turns: one of them notices soon
        while True:
            try:
                event = await updates.next(max(due - loop.time(), 0.0))
            except TimeoutError:
                await self._list_again(kind, updates, changed)
                due = loop.time() + self._pause()
                continue
            if event is None:
                return
            self._take(kind, *event)
            changed.set()

    async def _list_again(
        self, kind: WatchedKind, updates: Updates, changed: asyncio.Event
    ) -> None:
        try:
            await self._list(kind)
        except RpcError as error:
            if error.code is GrpcCode.DEADLINE_EXCEEDED:
                await self._client.leave(updates.channel)
                raise
            _LOG.warning("%s resources cannot be listed: %s", kind.name, error)
            if error.code is GrpcCode.UNAVAILABLE:
                raise
        changed.set()

    def _pause(self, least: float = 0.9) -> float:
        return self._interval * random.uniform(least, 1.1)  # noqa: S311 - spreads load

    # --- the table --------------------------------------------------------------------------

    async def _list(self, kind: WatchedKind) -> None:
        if kind is CONFIGURATIONS:
            self._put(kind, await self._client.configuration(self._configuration_name))
            return
        try:
            payloads = await self._client.list(kind)
        except RpcError as error:
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
            payloads = []
        before, self._tables[kind.name] = self._tables[kind.name], {}
        for raw in payloads:
            self._put(kind, raw, before)

    def _take(self, kind: WatchedKind, change: int, raw: bytes) -> None:
        if change != pb.DELETED:
            self._put(kind, raw)
            return
        try:
            name = receive(raw, kind.name, kind.api_version).name
        except ManifestError as error:
            _LOG.warning("%s", error)
            return
        if kind is CONFIGURATIONS:
            _LOG.warning("Configuration %s is gone, what it said stays in use", name)
        else:
            self._tables[kind.name].pop(name, None)

    def _put(
        self, kind: WatchedKind, raw: bytes, before: Mapping[str, Received] | None = None
    ) -> None:
        try:
            received = receive(raw, kind.name, kind.api_version)
        except ManifestError as error:
            _LOG.warning("%s", error)
            return
        if kind is CONFIGURATIONS and received.name != self._configuration_name:
            return
        table = self._tables[kind.name]
        if received.fault:
            received = _standing(received, (before or table).get(received.name))
        table[received.name] = received


def _standing(received: Received, before: Received | None) -> Received:
    """What cannot be read takes nothing away that works."""
    if before is None or before.fault != received.fault:
        _LOG.error("%s", received.fault)
    kept = None if before is None else before.resource
    return dataclasses.replace(received, resource=kept)


async def _patiently(what: str, ask: Callable[[], Awaitable[None]]) -> None:
    """Ask until the operator answers. Raises ``SourceError`` when it does not or will not."""
    backoff = Backoff(limit=5.0)
    for tries_left in reversed(range(_TRIES)):
        try:
            await ask()
        except RpcError as error:
            if isinstance(error.__cause__, CertificateError):
                text = f"the operator is not the expected one: {error.message}"
                raise SourceError(text) from error
            if error.code in _FINAL or not tries_left:
                raise SourceError(f"{what} cannot be had from the operator: {error}") from error
            pause = backoff.next()
            text = "%s cannot be had from the operator, trying again in %.1f s: %s"
            _LOG.warning(text, what, pause, error)
            await asyncio.sleep(pause)
        else:
            return
