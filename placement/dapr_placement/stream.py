"""What goes out to one sidecar: a few orders at most, and its end."""

from __future__ import annotations

import asyncio
from collections import deque

from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_placement.dissemination import Operation


class SidecarStream:
    """``put`` never waits. ``send_to`` runs beside the reader, which ``end`` cancels.

    A ``lock`` begins something newer than what has not left yet, so that takes its place: whoever
    does not read makes a queue of three orders.
    """

    __slots__ = ("_end", "_queued", "_reader", "_waiter", "number")

    def __init__(self, number: int, reader: asyncio.Task[object]) -> None:
        self.number = number
        self._reader = reader
        self._queued: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._end: RpcError | None = None

    @property
    def ended(self) -> RpcError | None:
        """Why it was ended from here."""
        return self._end

    def put(self, operation: Operation, order: bytes) -> None:
        """Queue an order."""
        if self._end is not None:
            return
        if operation == "lock":
            self._queued.clear()
        self._queued.append(order)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, error: RpcError) -> None:
        """End the stream at once, even while its sidecar does not read."""
        if self._end is None:
            self._end = error
            self._queued.clear()
            self._reader.cancel()

    async def send_to(self, context: Context) -> None:
        """Send until cancelled. Raises ``RpcError`` once the call is over."""
        while True:
            while self._queued:
                await context.send(self._queued.popleft())
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
