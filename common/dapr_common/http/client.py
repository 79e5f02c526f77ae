"""An HTTP client: one target, a pool of keep-alive connections (HTTP/1.1) or streams (h2c)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dapr_common.http.client_connection import ClientConnection
from dapr_common.http.messages import Header
from dapr_common.http.response import (
    SAFE_METHODS,
    Body,
    ClientResponse,
    ConnectError,
    ResponseError,
    dial_text,
)

if TYPE_CHECKING:
    from dapr_common.http.h2_client import Http2Pool

__all__ = ["Body", "ClientResponse", "ConnectError", "HttpClient", "ResponseError"]

_LOOK_AFTER_SECONDS = 1.0
_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


class HttpClient:
    """Requests to one host and port (or Unix socket).

    At most ``max_connections`` at once, further callers wait; up to ``max_idle`` are kept, each for
    ``idle_timeout`` seconds without a request.
    Deadlines are the caller's: a cancelled request destroys its connection.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        *,
        unix_path: str = "",
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        http2: bool = False,
        max_connections: int = 1024,
        max_idle: int = 64,
        idle_timeout: float = 90.0,
        max_response_header_bytes: int = 1 << 20,
        connect_timeout: float = 30.0,
    ) -> None:
        self._host = host
        self._port = port
        self._unix_path = unix_path
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._http2 = http2
        self._h2: Http2Pool | None = None
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self.max_header_bytes = max_response_header_bytes
        self._connect_timeout = connect_timeout
        self._free = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[ClientConnection] = []  # the one without work for longest comes first
        self._sweeper: asyncio.TimerHandle | None = None
        self._live: set[ClientConnection] = set()
        self._closed = False
        default = 443 if ssl is not None else 80
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port in (0, default) else f"{shown}:{port}"
        self.authority = (authority or "localhost").encode()

    async def request(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body = None,
        *,
        content_length: int | None = None,
    ) -> ClientResponse:
        """Send one request; returns when the response head is there.

        Raises ``ConnectError`` or ``ResponseError``. A pooled connection that turns out to be dead
        before any response byte is replaced when that is safe: the method changes nothing at the
        peer and the body can be sent again. What else is lost may have been processed.
        """
        if self._closed:
            raise ConnectError("http: the client is closed")
        if self._http2:
            return await self._request_h2(method, target, headers, body, content_length)
        await self._acquire()
        connection: ClientConnection | None = None
        try:
            while True:
                connection, reused = await self._connection()
                try:
                    return await connection.send(method, target, headers, body, content_length)
                except ResponseError as error:
                    replayable = method in SAFE_METHODS and (
                        body is None or isinstance(body, bytes)
                    )
                    if not (reused and error.before_response and replayable):
                        raise
        except BaseException:
            if connection is not None and not connection.released:
                connection.destroy()
            elif connection is None:
                self.slot_freed()
            raise

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or waits to be."""
        if self._h2 is not None and self._h2.busy:
            return True
        return bool(self._waiting) or len(self._live) > len(self._idle)

    async def close(self) -> None:
        """Close every connection; requests under way break."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._live):
            connection.destroy()
        self._idle.clear()
        if self._h2 is not None:
            await self._h2.close()

    # --- pool -------------------------------------------------------------------------------

    async def _acquire(self) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.slot_freed()
            else:
                with contextlib.suppress(ValueError):  # passed over meanwhile
                    self._waiting.remove(waiter)
            raise

    def slot_freed(self) -> None:
        """A request slot is free again; the oldest waiter gets it."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    async def _connection(self) -> tuple[ClientConnection, bool]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            idle = now - connection.idle_since
            if (
                connection.usable
                and idle < self._idle_timeout
                and not (idle > _LOOK_AFTER_SECONDS and connection.hung_up())
            ):
                return connection, True
            connection.drop()
        return await self._connect(), False

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        connection = await self._dial(lambda: ClientConnection(self, loop))
        self._live.add(connection)
        return connection

    async def _dial(self, make: Callable[[], _Protocol]) -> _Protocol:
        """A new connection. Raises ``ConnectError``."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await self._reach(make)
        except socket.gaierror as error:
            raise ConnectError(f"dial tcp: lookup {self._host}: no such host") from error
        except TimeoutError as error:
            raise ConnectError(f"dial tcp {self._shown()}: i/o timeout") from error
        except tls.SSLError as error:
            raise ConnectError(f"tls: {error.reason or 'handshake failed'}: {error}") from error
        except OSError as error:
            raise ConnectError(dial_text(self._shown(), error)) from error

    async def _reach(self, make: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self._unix_path:
            _, connection = await loop.create_unix_connection(make, self._unix_path)
            return connection
        name = None if self._ssl is None else (self._server_hostname or self._host)
        _, connection = await loop.create_connection(
            make, self._host, self._port, ssl=self._ssl, server_hostname=name
        )
        return connection

    def _shown(self) -> str:
        if self._unix_path:
            return self._unix_path
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def put_back(self, connection: ClientConnection) -> None:
        """A connection finished its request."""
        if connection.usable and len(self._idle) < self._max_idle and not self._closed:
            loop = asyncio.get_running_loop()
            connection.idle_since = loop.time()
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = loop.call_later(self._idle_timeout, self._sweep)
        else:
            connection.drop()
        self.slot_freed()

    def _sweep(self) -> None:
        """Close what had no work for too long: no later request may come to do it."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        ends = loop.time() - self._idle_timeout
        while self._idle and self._idle[0].idle_since <= ends:
            self._idle.pop(0).drop()
        if self._idle:
            until = self._idle[0].idle_since + self._idle_timeout
            self._sweeper = loop.call_at(until, self._sweep)

    def gone(self, connection: ClientConnection) -> None:
        """A connection ended."""
        self._live.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _request_h2(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> ClientResponse:
        if self._h2 is None:
            from dapr_common.http.h2_client import Http2Pool

            self._h2 = Http2Pool(self._dial, self.authority, self.max_header_bytes)
        return await self._h2.request(method, target, headers, body, content_length)
