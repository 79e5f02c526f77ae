"""An HTTP/1.1 and h2c server: one ``asyncio.Protocol`` per connection, no framework."""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Collection
from typing import Any, Protocol

from dapr_common.http.messages import Handler
from dapr_common.http.protocol import HttpProtocol
from dapr_common.http.sockets import bind_tcp

_SWEEP_SECONDS = 1.0
_CANCEL_SECONDS = 1.0


class ServedConnection(Protocol):
    """What the server needs of a connection, of either version of HTTP."""

    @property
    def running(self) -> Collection[asyncio.Task[None]]:
        """The requests that are being handled."""

    def shut_down_when_idle(self) -> None:
        """Close now when nothing is under way; otherwise after the running responses."""

    def abort(self) -> None:
        """Cut the connection."""

    def expire(self, now: float) -> None:
        """Close when the peer takes too long."""


class HttpServer:
    """Serves one handler on any number of listeners.

    ``max_body_bytes=None`` is unlimited; ``max_header_bytes`` counts the request line and headers.
    ``header_timeout`` bounds the time from a request's first byte to the end of its headers,
    ``idle_timeout`` the time a connection may be silent otherwise: between requests, inside a body
    somebody waits for, or while it takes nothing of a response.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        max_body_bytes: int | None,
        max_header_bytes: int,
        header_timeout: float = 10.0,
        idle_timeout: float = 180.0,
        max_connections: int | None = None,
        max_concurrent_streams: int = 250,
        h2c: bool = True,
    ) -> None:
        self.handler = handler
        self.max_body_bytes = max_body_bytes
        self.max_header_bytes = max_header_bytes
        self.header_timeout = header_timeout
        self.idle_timeout = idle_timeout
        self.max_connections = max_connections
        self.max_concurrent_streams = max_concurrent_streams
        self.h2c = h2c
        self.closing = False
        self.connections: set[ServedConnection] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event = asyncio.Event()

    @property
    def open_requests(self) -> int:
        """Requests that are being handled now."""
        return sum(len(connection.running) for connection in self.connections)

    async def listen_tcp(
        self, host: str | None, port: int, *, ssl: tls.SSLContext | None = None
    ) -> int:
        """Listen; ``None`` is every interface. Returns the bound port. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        sockets = bind_tcp(host, port)
        for bound in sockets:
            server = await loop.create_server(
                lambda: HttpProtocol(self, loop), sock=bound, ssl=ssl, backlog=1024
            )
            self._listeners.append(server)
        self._start_sweeper(loop)
        return int(sockets[0].getsockname()[1])

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix socket. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: HttpProtocol(self, loop), path)
        self._listeners.append(server)
        self._start_sweeper(loop)

    def stop_listening(self) -> None:
        """Accept no more connections; idle ones are closed at once."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self.connections):
            connection.shut_down_when_idle()

    async def close(self, grace: float) -> None:
        """Stop listening, wait up to ``grace`` seconds for open requests, then cut them."""
        self.stop_listening()
        if self.connections and grace > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        running = {task for connection in self.connections for task in connection.running}
        running.discard(asyncio.current_task())
        for connection in list(self.connections):
            connection.abort()
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_CANCEL_SECONDS)

    def forget(self, connection: Any) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._drained.set()

    def _start_sweeper(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweeper is None:
            self._sweep(loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.expire(now)
        interval = min(_SWEEP_SECONDS, self.header_timeout / 4, self.idle_timeout / 4)
        self._sweeper = loop.call_later(interval, self._sweep, loop)
