"""One Redis connection: commands of one loop turn leave in one write, replies match in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import hiredis

Argument = bytes | str | int | float
_pack: Callable[[Sequence[Argument]], bytes] = hiredis.pack_command  # type: ignore[assignment]
_SWEEP_SECONDS = 1.0


@lru_cache(maxsize=4096)
def _length(size: int) -> bytes:
    return b"$%d\r\n" % size


def packed(head: bytes, arguments: Iterable[Argument]) -> bytes:
    """Arguments as bytes of the protocol, behind a head that is that already."""
    parts = [head]
    for value in arguments:
        data = value if type(value) is bytes else str(value).encode()
        parts += _length(len(data)), data, b"\r\n"
    return b"".join(parts)


class RedisError(Exception):
    """Redis answered with an error; the text is the server's."""


class RedisConnectionError(Exception):
    """There is no connection, or it broke while a reply was awaited."""


class RedisConnection(asyncio.Protocol):
    """Auto-pipelining over one socket.

    A caller that is cancelled leaves its place in the reply queue: the reply is read and dropped.
    ``reply_timeout`` (seconds) breaks the connection when the oldest reply is late; ``None`` for a
    connection that blocks on purpose. ``shown`` is what errors call the server.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reply_timeout: float | None,
        on_lost: Callable[[RedisConnection], None] | None = None,
        *,
        shown: str,
    ) -> None:
        self.shown = shown
        self._loop = loop
        self._reply_timeout = reply_timeout
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._transport: Any = None
        self._writable: asyncio.Future[None] | None = None
        self._progress = loop.time()
        self._sweeper: asyncio.TimerHandle | None = None
        self.push: Callable[[Any], None] | None = None
        """Takes replies nobody waits for (pub/sub messages)."""
        self.lost = False

    # --- sending ----------------------------------------------------------------------------

    def send(self, *arguments: Argument) -> asyncio.Future[Any]:
        """Queue one command. The future raises ``RedisError`` or ``RedisConnectionError``."""
        return self.send_packed(_pack(arguments))

    def send_packed(self, command: bytes) -> asyncio.Future[Any]:
        """Queue one command that is bytes of the protocol already; as ``send``."""
        future = self._loop.create_future()
        if self.lost:
            future.set_exception(RedisConnectionError(f"connection to {self.shown} is closed"))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        if not self._waiting:
            self._progress = self._loop.time()
        self._out.append(command)
        self._waiting.append(future)
        return future

    def write(self, *arguments: Argument) -> None:
        """Queue a command whose replies come by ``push``."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(_pack(arguments))

    def send_all(self, commands: Sequence[Sequence[Argument]]) -> list[asyncio.Future[Any]]:
        """Queue several commands, to be executed one after the other."""
        return [self.send(*command) for command in commands]

    @property
    def congested(self) -> bool:
        """Whether the peer takes commands slower than they come."""
        return self._writable is not None

    async def writable(self) -> None:
        """Wait until the peer has caught up."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def _flush(self) -> None:
        out = self._out
        if out and not self.lost:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        self._out = []

    # --- protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._reply_timeout is not None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if not waiting:
                    if self.push is not None:
                        self.push(reply)
                    continue
                future = waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    future.set_exception(RedisError(str(reply)))
                else:
                    future.set_result(reply)
        except hiredis.ProtocolError as error:
            self._end(f"{self.shown} broke the protocol: {error}")
            self._transport.abort()
            return
        self._progress = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection to {self.shown} lost: {exc or 'EOF'}")

    def _end(self, reason: str) -> None:
        if self.lost:
            return
        self.lost = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.resume_writing()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(RedisConnectionError(reason))
                future.exception()  # whoever gave up waiting must not cause a warning
        if self._on_lost is not None:
            self._on_lost(self)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        assert self._reply_timeout is not None
        if self._waiting and self._loop.time() - self._progress > self._reply_timeout:
            self._end(f"{self.shown} did not answer within {self._reply_timeout:g}s: i/o timeout")
            self._transport.abort()

    async def close(self) -> None:
        """Wait for the replies under way, then close."""
        if self._waiting and not self.lost:
            await asyncio.wait(list(self._waiting), timeout=1.0)
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self._end(f"connection to {self.shown} is closed")
        if self._transport is not None:
            self._transport.abort()
