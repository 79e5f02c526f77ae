"""A request body that is still arriving, with back-pressure to the peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError

HIGH_WATER = 64 << 10


class BodyReader:
    """Filled by a protocol, read by a handler.

    ``pause`` and ``resume`` act on the transport (or the stream's flow-control window).
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_limit",
        "_pause",
        "_paused",
        "_resume",
        "_size",
        "_total",
        "_waiter",
        "_waiting_since",
        "discarding",
        "done",
        "on_first_read",
        "patient",
    )

    def __init__(
        self, limit: int | None, pause: Callable[[], None], resume: Callable[[], None]
    ) -> None:
        self._limit = limit
        self._pause = pause
        self._resume = resume
        self._chunks: list[bytes] = []
        self._size = 0
        self._total = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._error: Exception | None = None
        self.done = False
        self.discarding = False
        self.patient = False
        """Whether a silent peer is left alone."""
        self.on_first_read: Callable[[], None] | None = None

    @property
    def failed(self) -> bool:
        """Whether reading raises."""
        return self._error is not None

    @property
    def received(self) -> int:
        """Bytes that arrived so far."""
        return self._total

    def stalled_since(self, now: float) -> float:
        """For how many seconds somebody has waited for the peer's next byte."""
        if self._waiter is None or self.patient:
            return 0.0
        return now - self._waiting_since

    def feed(self, data: bytes) -> None:
        """Add bytes from the peer."""
        self._total += len(data)
        if self.discarding or self._error is not None:
            return
        if self._limit is not None and self._total > self._limit:
            self.fail(BodyTooLargeError())
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()
        if self._waiter is not None:
            self._wake()

    def finish(self) -> None:
        """The peer sent the last byte."""
        self.done = True
        if self._waiter is not None:
            self._wake()

    def fail(self, error: Exception) -> None:
        """Reading raises from now on; what is buffered is dropped."""
        if self._error is None and not self.done:
            self._error = error
            self._drop()
            self._wake()

    def discard(self) -> None:
        """Nobody will read: take bytes and forget them."""
        self.discarding = True
        self._drop()

    def take_whole(self) -> bytes | None:
        """The whole body when it has arrived and may be read, otherwise ``None``."""
        if not self.done or self._error is not None:
            return None
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._drop()
        return body

    async def read(self) -> bytes:
        """The rest of the body. Raises ``BodyTooLargeError`` or ``BodyIncompleteError``."""
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they arrive."""
        if self.on_first_read is not None and not self.done:
            self.on_first_read()
            self.on_first_read = None
        while True:
            if self._error is not None:
                raise self._error
            if self._chunks:
                chunks = self._chunks
                self._drop()
                yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
            elif self.done:
                return
            else:
                loop = asyncio.get_running_loop()
                self._waiting_since = loop.time()
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def connection_lost(self) -> None:
        """The peer went away; an unfinished body is an error."""
        self.fail(BodyIncompleteError())

    def _drop(self) -> None:
        self._chunks = []
        self._size = 0
        if self._paused:
            self._paused = False
            self._resume()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
