"""A gRPC server over HTTP/2 sessions: all four kinds, raw proxying, deadlines, drain.

A unary call whose request arrived in one piece costs one task; answers of one loop turn leave in
one ``write``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Callable
from typing import Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Kind, Metadata, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.paced_listener import PacedListener
from dapr_common.grpc.server_connection import Identify, ServerConnection
from dapr_common.http.sockets import bind_tcp
from dapr_common.http2 import session as h2
from dapr_common.http2.connection import tick_interval

__all__ = [
    "After",
    "Before",
    "Context",
    "Enter",
    "GrpcServer",
    "Identify",
    "Kind",
    "MapError",
    "Metadata",
    "Method",
]

Before = Callable[[Context, Method | None], None]
Enter = Callable[[Context], None]
After = Callable[[Context, GrpcCode, float, int, int], None]
MapError = Callable[[Exception], RpcError | None]

_CANCEL_SECONDS = 1.0
_HANDSHAKE_SECONDS = 10.0


class GrpcServer:
    """Serves methods on any number of listeners.

    ``before`` runs as soon as the request headers are there and may raise ``RpcError``; ``enter``
    runs first in the handler's task; ``after`` gets the outcome
    (code, milliseconds, request bytes, response bytes); ``map_error`` turns a handler's exception
    into a status. ``max_call_seconds`` bounds every call, from its headers to its status, whatever
    the client allows. ``fallback`` handles methods nobody serves (``context.method`` names them).
    """

    def __init__(
        self,
        *,
        max_receive_bytes: int | None,
        max_send_bytes: int | None = None,
        max_header_list_bytes: int = 64 << 10,
        max_concurrent_streams: int = 1000,
        ping_interval: float | None = None,
        ping_timeout: float = 20.0,
        min_client_ping_interval: float = 5.0,
        max_idle: float | None = None,
        max_call_seconds: float | None = None,
        before: Before | None = None,
        enter: Enter | None = None,
        after: After | None = None,
        map_error: MapError | None = None,
        engine: h2.Engine | None = None,
    ) -> None:
        self.max_receive_bytes = max_receive_bytes
        self.max_send_bytes = max_send_bytes
        self.max_header_list_bytes = max_header_list_bytes
        self.max_concurrent_streams = max_concurrent_streams
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.min_client_ping_interval = min_client_ping_interval
        self.max_idle = max_idle
        self.max_call_seconds = max_call_seconds
        self.before = before
        self.enter = enter
        self.after = after
        self.map_error = map_error
        self.engine = engine
        self.methods: dict[bytes, Method] = {}
        self.services: dict[str, None] = {}
        self.fallback: Method | None = None
        self.closing = False
        self.connections: set[ServerConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server | PacedListener] = []
        self._drained = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    def add(self, method: Method) -> None:
        """Register a method."""
        self.methods[method.path.encode()] = method
        self.services.setdefault(method.path[1:].partition("/")[0])

    async def listen_tcp(
        self,
        host: str | None,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        identify: Identify | None = None,
        max_handshakes: int | None = None,
    ) -> int:
        """Listen; returns the bound port. Raises ``OSError``. ``ssl`` gets ALPN ``h2`` set.

        ``max_handshakes`` bounds how many TLS handshakes are under way at a time.
        """
        loop = asyncio.get_running_loop()
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])

        def connection() -> ServerConnection:
            return ServerConnection(self, loop, identify)

        bound = bind_tcp(host, port)
        for sock in bound:
            if ssl is not None and max_handshakes is not None:
                self._listeners.append(PacedListener(sock, connection, ssl, max_handshakes))
                continue
            listener = await loop.create_server(
                connection,
                sock=sock,
                ssl=ssl,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if ssl is not None else None,
                backlog=1024,
            )
            self._listeners.append(listener)
        self._start_sweeper(loop)
        return int(bound[0].getsockname()[1])

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix socket. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_unix_server(lambda: ServerConnection(self, loop, None), path)
        self._listeners.append(listener)
        self._start_sweeper(loop)

    def adopt(self, transport: Any, data: bytes = b"") -> None:
        """Serve a connection accepted elsewhere; ``data`` is what was read of it already."""
        loop = asyncio.get_running_loop()
        connection = ServerConnection(self, loop, None)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if data:
            connection.data_received(data)
        self._start_sweeper(loop)

    def stop_listening(self) -> None:
        """Accept nothing new; tell peers to finish (GOAWAY)."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for connection in list(self.connections):
            connection.shut_down()

    async def close(self, grace: float) -> None:
        """Stop listening, wait up to ``grace`` seconds for open calls, then cut them."""
        self.stop_listening()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self.connections and grace > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()
        for connection in list(self.connections):
            connection.abort()
        tasks = self.tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

    def forget(self, connection: ServerConnection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._drained.set()

    def unknown(self, path: str) -> RpcError:
        """The status of a method nobody serves, in grpc-go's words."""
        service, slash, name = path.removeprefix("/").rpartition("/")
        if not slash:
            text = f'malformed method name: "{path}"'
        elif service in self.services:
            text = f"unknown method {name} for service {service}"
        else:
            text = f"unknown service {service}"
        return RpcError(GrpcCode.UNIMPLEMENTED, text)

    def _start_sweeper(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweeper is None and not self.closing:
            interval = tick_interval(self.ping_interval, self.ping_timeout, self.max_idle)
            self._sweeper = loop.call_later(interval, self._sweep, loop, interval)

    def _sweep(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.tick(now)
        self._sweeper = loop.call_later(interval, self._sweep, loop, interval)
