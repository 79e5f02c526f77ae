"""The stream to placement: reports what is hosted, obeys lock, update and unlock, comes back."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from google.protobuf.message import DecodeError

from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement_addresses import PlacementSettings
from dapr_sidecar.blocks.actors.placement_bounds import PlacementBounds, bounds_of
from dapr_sidecar.blocks.actors.rounds import RoundError
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.placement")
_METHOD = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
_API_LEVEL = 20
_CONNECT_SECONDS = 5.0
_PING_TIMEOUT = 4.0
_LOOK_SECONDS = 0.25
_HALT_SECONDS = 5.0
_REDIAL_SECONDS = (0.25, 0.75)
_MAX_TABLE_BYTES = 256 << 20
_MOST_REPORTS = 64
_OPERATIONS = {
    "lock": pb.HostOperation.LOCK,
    "update": pb.HostOperation.UPDATE,
    "unlock": pb.HostOperation.UNLOCK,
}
_SILENCE_SECONDS = 4.5
"""A silent stream is left after so long. From the end of the lease on no turn begins and no state
is written, but a machine that is merely busy need not give its actors up for that.
"""
_LONG_AGO = float("-inf")
_NOTHING = (-1, _LONG_AGO)
_TOO_MANY_PINGS = "too many pings"


class PlacementSecurity(Protocol):
    """Mutual TLS towards placement."""

    def client_context(self) -> ssl.SSLContext:
        """The context of new connections, with the newest certificate."""
        ...

    def verify_placement(self, peer: ssl.SSLObject) -> None:
        """Raise when the peer is not this control plane's placement."""
        ...


class _StreamEndError(Exception):
    """The conversation is over; the text says why."""


_LOSSES = (RpcError, RoundError, _StreamEndError, DecodeError, OSError, UnicodeError)
"""What ends an attempt; a name that no resolver can take is a ``UnicodeError``."""

NextAddress = Callable[[], Awaitable[str]]


class PlacementClient:
    """Runs until cancelled. ``report`` may be called at any time."""

    def __init__(
        self,
        context: SidecarContext,
        view: PlacementView,
        settings: PlacementSettings,
        next_address: NextAddress,
        security: PlacementSecurity | None,
        *,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._view = view
        self._settings = settings
        self._next_address = next_address
        self._security = security
        self._connected = connected
        self._changed = asyncio.Event()
        self._reports: deque[frozenset[str]] = deque(maxlen=_MOST_REPORTS)
        self._halting: asyncio.Task[None] | None = None
        self._pings = True
        self._introduced = 0.0
        """When the stream's first report left."""
        self._answered = _LONG_AGO
        """When that left which orders prove to have arrived."""
        self._told = _NOTHING
        """Version and time of the last answer to an order."""
        self._failure = ""
        view.named(settings.name)

    def report(self) -> None:
        """What is hosted here has changed. Each change is told, one that is undone as well."""
        self._reports.append(self._view.hosted)
        self._changed.set()

    async def run(self) -> None:
        """Keep a stream to placement."""
        try:
            while True:
                await self._attempt(await self._next_address())
                await asyncio.sleep(random.uniform(*_REDIAL_SECONDS))  # noqa: S311 - a pause
        finally:
            self._lost()
            await self._halted()

    async def _attempt(self, address: str) -> None:
        channel = self._channel(address)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                call = await channel.open(_METHOD)
            await self._converse(call)
        except _LOSSES as error:
            self._explain(address, error)
        finally:
            await channel.close()
            self._lost()

    def _channel(self, address: str) -> GrpcChannel:
        security = self._security
        return GrpcChannel(
            address,
            ssl=None if security is None else security.client_context(),
            verify_peer=None if security is None else security.verify_placement,
            max_receive_bytes=_MAX_TABLE_BYTES,
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=PlacementBounds().ping if self._pings else None,
            ping_timeout=_PING_TIMEOUT,
            ping_always=self._pings,
        )

    def _explain(self, address: str, error: Exception) -> None:
        if _TOO_MANY_PINGS in str(error).lower().replace("_", " "):
            # Then its own pings, which come every other second, have to do.
            self._pings = False
        text = f"{address}: {error or type(error).__name__}"
        level = _LOG.debug if text == self._failure else _LOG.warning
        level("the stream to placement ended, trying the next address: %s", text)
        self._failure = text

    # --- one stream -------------------------------------------------------------------------

    async def _converse(self, call: Call) -> None:
        """Until the stream ends, which is always told by an exception."""
        view = self._view
        ended = asyncio.Event()
        call.when_ended(lambda *_: ended.set())
        self._reports.clear()
        self._introduced = time.monotonic()
        await self._report(call, view.hosted)
        view.connect(lambda: self._heard_since(call), PlacementBounds().lease(pings=self._pings))
        _LOG.info("connected to placement at %s", call.connection.channel.target)
        self._connected()
        parts: list[Coroutine[None, None, None]] = [
            self._obey_all(call),
            self._report_changes(call),
            self._watch(call),
            self._end_of(call, ended),
        ]
        tasks = [asyncio.create_task(part, name="placement") for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _heard_since(self, call: Call) -> float:
        """When that was sent which placement heard last; long ago for a stream that ended."""
        if call.done:
            return _LONG_AGO
        return max(call.connection.heard_since, self._answered)

    async def _end_of(self, call: Call, ended: asyncio.Event) -> None:
        """What ends the stream ends draining, too."""
        await ended.wait()
        raise call.error or _StreamEndError("placement closed it")

    async def _watch(self, call: Call) -> None:
        """Leave a stream on which nothing is heard, or whose round takes too long."""
        view, began = self._view, time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now - max(self._heard_since(call), began) > _SILENCE_SECONDS:
                raise _StreamEndError("nothing was heard from it in time")
            ends_by = view.rounds.ends_by
            if ends_by is not None and now > ends_by:
                raise _StreamEndError("the round took longer than --actors-disseminate-timeout")

    async def _report_changes(self, call: Call) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._reports:
                await self._report(call, self._reports.popleft())

    async def _report(self, call: Call, types: frozenset[str]) -> None:
        own, metrics = self._context.identity, self._context.metrics.actors
        host = pb.Host(
            name=self._settings.name,
            id=own.app_id,
            namespace=own.invocation_namespace,
            api_level=_API_LEVEL,
            entities=sorted(types),
            operation=pb.HostOperation.REPORT,
        )
        try:
            await call.send(host)
        except RpcError:
            metrics.status_report_failed("", "send", "status")
            raise
        metrics.status_reported("", "send")

    async def _obey_all(self, call: Call) -> None:
        async for raw in call:
            if self._answered is _LONG_AGO:
                self._answered = self._introduced  # the first order answers the first report
                self._take_bounds(call)
            order = pb.PlacementOrder.FromString(raw)
            if order.operation != "lock" and self._told[0] == order.version:
                # It follows from the answers of all, that of this sidecar among them.
                self._answered = max(self._answered, self._told[1])
            self._failure = ""
            self._context.metrics.actors.table_operation("", order.operation)
            await self._obey(call, order)

    def _take_bounds(self, call: Call) -> None:
        bounds, channel = bounds_of(call.initial), call.connection.channel
        self._view.bound(bounds.lease(pings=self._pings), bounds.answer)
        if self._pings:
            channel.ping_interval = bounds.ping

    async def _obey(self, call: Call, order: pb.PlacementOrder) -> None:
        view, version = self._view, order.version or _number(order.tables.version)
        _LOG.debug("placement order %s, version %d", order.operation, version)
        if order.operation == "lock":
            view.lock(version)
            await self._acknowledge(call, order.operation, version)
        elif order.operation == "update":
            await self._halted()
            await view.leaving(view.update(order.tables, version))
            view.drained()
            await self._acknowledge(call, order.operation, version)
        elif order.operation == "unlock":
            settled = view.unlock(version)
            if settled is not None:
                await self._acknowledge(call, order.operation, version)
                view.settled(settled)
        else:
            raise RoundError(f"unknown operation '{order.operation}'")

    async def _acknowledge(self, call: Call, operation: str, version: int) -> None:
        own, sent = self._context.identity, time.monotonic()
        await call.send(
            pb.Host(
                id=own.app_id,
                namespace=own.invocation_namespace,
                operation=_OPERATIONS[operation],
                version=version,
            )
        )
        self._view.answered()
        self._told = (version, sent)

    # --- loss -------------------------------------------------------------------------------

    def _lost(self) -> None:
        """Nothing is owned any more. Everybody lets go while the next stream is looked for."""
        if not self._view.connected:
            return
        self._answered = _LONG_AGO
        self._told = _NOTHING
        types, earlier = self._view.lost(), self._halting
        self._halting = asyncio.create_task(self._halt(types, earlier), name="halt-actors")

    async def _halt(self, types: frozenset[str], earlier: asyncio.Task[None] | None) -> None:
        await self._view.leaving(types)
        if earlier is not None:
            await earlier

    async def _halted(self) -> None:
        """Wait until what the last stream gave was let go, for a bounded time."""
        halting, self._halting = self._halting, None
        if halting is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HALT_SECONDS):
                await halting


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
