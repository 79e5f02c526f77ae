"""One stream to placement: reports what is hosted, obeys lock, update and unlock."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine

from dapr_common.grpc.client import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement_bounds import PlacementBounds, bounds_of
from dapr_sidecar.blocks.actors.rounds import RoundError
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.placement")
_API_LEVEL = 20
_LOOK_SECONDS = 0.25
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


class StreamEndError(Exception):
    """The conversation is over; the text says why."""


class Reports:
    """What is hosted, each time it changed, until it is told; a change that is undone as well."""

    def __init__(self) -> None:
        self._waiting: deque[frozenset[str]] = deque(maxlen=_MOST_REPORTS)
        self._changed = asyncio.Event()

    def put(self, types: frozenset[str]) -> None:
        """These are hosted now."""
        self._waiting.append(types)
        self._changed.set()

    def clear(self) -> None:
        """A stream begins with what is hosted then."""
        self._waiting.clear()

    async def next(self) -> frozenset[str]:
        """The next one to tell."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


class PlacementStream:
    """``halted`` is waited for before new tables are taken; ``heard`` is called with each order."""

    def __init__(
        self,
        context: SidecarContext,
        view: PlacementView,
        name: str,
        call: Call,
        *,
        halted: Callable[[], Awaitable[None]],
        heard: Callable[[], None],
    ) -> None:
        self._context = context
        self._view = view
        self._name = name
        self._call = call
        self._halted = halted
        self._heard = heard
        self._pings = call.connection.channel.ping_interval is not None
        self._introduced = 0.0
        """When the first report left."""
        self._answered = _LONG_AGO
        """When that left which orders prove to have arrived."""
        self._told = _NOTHING
        """Version and time of the last answer to an order."""

    async def converse(self, reports: Reports, connected: Callable[[], None]) -> None:
        """Until the stream ends, which is always told by an exception."""
        view = self._view
        ended = asyncio.Event()
        self._call.when_ended(lambda *_: ended.set())
        self._introduced = time.monotonic()
        await self._report(view.hosted)
        view.connect(self._heard_since, PlacementBounds().lease(pings=self._pings))
        _LOG.info("connected to placement at %s", self._call.connection.channel.target)
        connected()
        parts: list[Coroutine[None, None, None]] = [
            self._obey_all(),
            self._report_changes(reports),
            self._watch(),
            self._end_of(ended),
        ]
        tasks = [asyncio.create_task(part, name="placement") for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _heard_since(self) -> float:
        """When that was sent which placement heard last; long ago for a stream that ended."""
        if self._call.done:
            return _LONG_AGO
        return max(self._call.connection.heard_since, self._answered)

    async def _end_of(self, ended: asyncio.Event) -> None:
        """What ends the stream ends draining, too."""
        await ended.wait()
        raise self._call.error or StreamEndError("placement closed it")

    async def _watch(self) -> None:
        """Leave a stream on which nothing is heard, or whose round takes too long."""
        view, began = self._view, time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now - max(self._heard_since(), began) > _SILENCE_SECONDS:
                raise StreamEndError("nothing was heard from it in time")
            ends_by = view.rounds.ends_by
            if ends_by is not None and now > ends_by:
                raise StreamEndError("the round took longer than --actors-disseminate-timeout")

    async def _report_changes(self, reports: Reports) -> None:
        while True:
            await self._report(await reports.next())

    async def _report(self, types: frozenset[str]) -> None:
        own, metrics = self._context.identity, self._context.metrics.actors
        host = pb.Host(
            name=self._name,
            id=own.app_id,
            namespace=own.invocation_namespace,
            api_level=_API_LEVEL,
            entities=sorted(types),
            operation=pb.HostOperation.REPORT,
        )
        try:
            await self._call.send(host)
        except RpcError:
            metrics.status_report_failed("", "send", "status")
            raise
        metrics.status_reported("", "send")

    async def _obey_all(self) -> None:
        async for raw in self._call:
            if self._answered is _LONG_AGO:
                self._answered = self._introduced  # the first order answers the first report
                self._take_bounds()
            order = pb.PlacementOrder.FromString(raw)
            if order.operation != "lock" and self._told[0] == order.version:
                # It follows from the answers of all, that of this sidecar among them.
                self._answered = max(self._answered, self._told[1])
            self._heard()
            self._context.metrics.actors.table_operation("", order.operation)
            await self._obey(order)

    def _take_bounds(self) -> None:
        bounds, channel = bounds_of(self._call.initial), self._call.connection.channel
        self._view.bound(bounds.lease(pings=self._pings), bounds.answer)
        if self._pings:
            channel.ping_interval = bounds.ping

    async def _obey(self, order: pb.PlacementOrder) -> None:
        view, version = self._view, order.version or _number(order.tables.version)
        _LOG.debug("placement order %s, version %d", order.operation, version)
        if order.operation == "lock":
            view.lock(version)
            await self._acknowledge(order.operation, version)
        elif order.operation == "update":
            await self._halted()
            await view.leaving(view.update(order.tables, version))
            view.drained()
            await self._acknowledge(order.operation, version)
        elif order.operation == "unlock":
            settled = view.unlock(version)
            if settled is not None:
                await self._acknowledge(order.operation, version)
                view.settled(settled)
        else:
            raise RoundError(f"unknown operation '{order.operation}'")

    async def _acknowledge(self, operation: str, version: int) -> None:
        own, sent = self._context.identity, time.monotonic()
        await self._call.send(
            pb.Host(
                id=own.app_id,
                namespace=own.invocation_namespace,
                operation=_OPERATIONS[operation],
                version=version,
            )
        )
        self._view.answered()
        self._told = (version, sent)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
