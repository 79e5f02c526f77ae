"""What goes out to one sidecar: a few orders at most, and its end."""

from __future__ import annotations

import asyncio
from collections import deque

from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_placement.dissemination import Operation
from dapr_placement.orders import Encoded


class SidecarStream:
    """``put`` never waits. ``reader`` is the task that reads the stream; ``end`` cancels it.

    A ``lock`` begins something newer than what has not left yet, so that takes its place: whoever
    does not read makes a queue of three orders.
    """

    __slots__ = ("_context", "_end", "_packs", "_queued", "_reader", "_sending", "number")

    def __init__(self, number: int, context: Context, reader: asyncio.Task[object]) -> None:
        self.number = number
        self._context = context
        self._packs = context.compress("gzip")
        self._reader = reader
        self._queued: deque[Encoded] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._end: RpcError | None = None

    @property
    def ended(self) -> RpcError | None:
        """Why it was ended from here."""
        return self._end

    def put(self, operation: Operation, order: Encoded) -> None:
        """Send an order as soon as the sidecar takes it."""
        if self._end is not None:
            return
        if operation == "lock":
            self._queued.clear()
        self._queued.append(order)
        if self._sending is None:
            self._send()

    def end(self, error: RpcError) -> None:
        """End the stream at once, even while its sidecar does not read."""
        if self._end is None:
            self._end = error
            self._queued.clear()
            self._reader.cancel()

    async def close(self) -> None:
        """Send nothing more."""
        self._queued.clear()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait({self._sending})

    def _send(self) -> None:
        try:
            while self._queued and self._context.offer(self._framed(self._queued[0])):
                self._queued.popleft()
        except RpcError:  # the call is over, which its reader is told as well
            self._queued.clear()
        if self._queued:
            self._sending = asyncio.ensure_future(self._send_slowly())

    async def _send_slowly(self) -> None:
        try:
            while self._queued:
                await self._context.send_framed(self._framed(self._queued.popleft()))
        except RpcError:
            self._queued.clear()
        finally:
            self._sending = None

    def _framed(self, order: Encoded) -> bytes:
        return order.packed if self._packs else order.plain
