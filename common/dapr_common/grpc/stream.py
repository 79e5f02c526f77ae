"""One stream of messages, of either side: cutting, waiting, flow control."""

from __future__ import annotations

import asyncio
from collections import deque

from dapr_common.grpc.wire import Deframer, Packed
from dapr_common.http2.connection import Http2Connection

SEND_HIGH_WATER = 256 << 10
"""Queued bytes from which a sender waits."""

_ACKNOWLEDGE_BYTES = 64 << 10


class MessageStream:
    """Messages that come in wait here for one reader; the peer may send as it takes them.

    What belongs to a message that is not complete yet is acknowledged at once, so that a message
    may be larger than the window: the message limit bounds it.
    """

    __slots__ = (
        "_consumed",
        "_deframer",
        "_messages",
        "_unacknowledged",
        "_waiter",
        "_writers",
        "connection",
        "done",
        "failure",
        "id",
        "input_done",
        "received",
    )

    def __init__(self, connection: Http2Connection, deframer: Deframer) -> None:
        self.connection = connection
        self.id = 0
        self.done = False
        """The call is over: nothing more goes out."""
        self.input_done = False
        """The peer has sent everything."""
        self.failure: Exception | None = None
        """What a reader gets after the messages that came before it."""
        self.received = 0
        """Bytes of the messages read."""
        self._deframer = deframer
        self._messages: deque[bytes] = deque()
        self._unacknowledged = 0
        self._consumed = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] | None = None

    # --- input ------------------------------------------------------------------------------

    def _take_data(self, data: bytes) -> None:
        """Take received bytes. Raises ``RpcError``."""
        messages = self._messages
        self._unacknowledged += len(data)
        try:
            self._deframer.feed(data, messages)
        finally:
            if not messages:
                self._acknowledge_all()
        if messages and self._waiter is not None:
            self._wake()

    async def next_message(self) -> bytes | None:
        """The next message, or ``None`` at the end. Raises what ended the call early."""
        messages = self._messages
        while not messages:
            if self.failure is not None:
                raise self.failure
            if self.input_done:
                return None
            await self._wait()
        return self._opened(messages.popleft())

    async def take(self) -> list[bytes]:
        """All messages that came since the last time, at least one; none at the end.

        Raises what ended the call early.
        """
        first = await self.next_message()
        if first is None:
            return []
        taken = [first]
        while self._messages:
            taken.append(self._opened(self._messages.popleft()))
        return taken

    def _opened(self, message: bytes) -> bytes:
        self._consumed += len(message) + 5
        if not self._messages:
            self._acknowledge_all()
        elif self._consumed >= _ACKNOWLEDGE_BYTES:
            amount = min(self._consumed, self._unacknowledged)
            self._consumed = 0
            self._unacknowledged -= amount
            self.connection.acknowledge(amount, self.id)
        if type(message) is Packed:
            message = self._deframer.unpack(message)
        self.received += len(message)
        return message

    def _acknowledge_all(self) -> None:
        amount = self._unacknowledged
        if amount:
            self._unacknowledged = self._consumed = 0
            self.connection.acknowledge(amount, self.id)

    async def _wait(self) -> None:
        self._waiter = self.connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- output -----------------------------------------------------------------------------

    def wake_writers(self) -> None:
        """There may be room, or the call ended."""
        for future in self._writers or ():
            if not future.done():
                future.set_result(None)

    async def _drain(self) -> None:
        """Wait until the peer has taken most of what was sent."""
        connection = self.connection
        connection.flush()
        while not self.done and connection.session.queued_body_size(self.id) > SEND_HIGH_WATER:
            future: asyncio.Future[None] = connection.loop.create_future()
            if self._writers is None:
                self._writers = []
            self._writers.append(future)
            connection.blocked.add(self)
            try:
                await future
            finally:
                self._writers.remove(future)
