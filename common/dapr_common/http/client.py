"""An HTTP/1.1 client on ``httptools``: one target, a pool of keep-alive connections."""

from __future__ import annotations

import asyncio
import os
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httptools

from dapr_common.http.headers import safe_value
from dapr_common.http.messages import Header

HIGH_WATER = 64 << 10
Body = bytes | AsyncIterator[bytes] | None


class ConnectError(OSError):
    """The target could not be reached; worded as Go callers see it."""


class ResponseError(OSError):
    """The connection broke before or inside the response."""

    def __init__(self, message: str, *, before_response: bool = False) -> None:
        super().__init__(message)
        self.before_response = before_response


class ClientResponse:
    """A response whose body may still be arriving. Header names are lower-case.

    Read it to the end, or ``close`` it: the connection goes back to the pool only then.
    """

    __slots__ = ("_connection", "content_length", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: str,
        headers: list[Header],
        content_length: int | None,
        connection: _Connection | None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.content_length = content_length
        self._connection = connection

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (``read`` will not wait)."""
        return self._connection is None or self._connection.body_done

    async def read(self) -> bytes:
        """The whole body. Raises ``ResponseError`` when it breaks off."""
        if self._connection is None:
            return b""
        if self._connection.body_done:
            body = self._connection.take()
            self.close()
            return body
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, with back-pressure."""
        connection = self._connection
        if connection is None:
            return
        try:
            while True:
                if chunk := connection.take():
                    yield chunk
                elif connection.body_done:
                    return
                else:
                    await connection.wait()
        finally:
            self.close()

    def detach(self) -> _Connection | None:
        """Hand the connection on to a response that takes this one's place."""
        connection, self._connection = self._connection, None
        return connection

    def close(self) -> None:
        """Give the connection back, or destroy it when the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


class HttpClient:
    """Requests to one host and port (or Unix socket).

    At most ``max_connections`` at once, further callers wait; up to ``max_idle`` are kept.
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
        self._h2: Any = None
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self.max_header_bytes = max_response_header_bytes
        self._connect_timeout = connect_timeout
        self._free = max_connections
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[_Connection] = []
        self._live: set[_Connection] = set()
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
        before any response byte is replaced once, when the body can be sent again.
        """
        if self._http2:
            return await self._request_h2(method, target, headers, body, content_length)
        await self._acquire()
        connection: _Connection | None = None
        try:
            while True:
                connection, reused = await self._connection()
                try:
                    return await connection.send(method, target, headers, body, content_length)
                except ResponseError as error:
                    replayable = body is None or isinstance(body, bytes)
                    if not (reused and error.before_response and replayable):
                        raise
        except BaseException:
            if connection is not None and not connection.released:
                connection.destroy()
            elif connection is None:
                self.slot_freed()
            raise

    async def close(self) -> None:
        """Close every connection; requests under way break."""
        self._closed = True
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

    async def _connection(self) -> tuple[_Connection, bool]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < self._idle_timeout:
                return connection, True
            connection.drop()
        return await self._connect(), False

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                if self._unix_path:
                    _, connection = await loop.create_unix_connection(
                        lambda: _Connection(self, loop), self._unix_path
                    )
                else:
                    hostname = None
                    if self._ssl is not None:
                        hostname = self._server_hostname or self._host
                    _, connection = await loop.create_connection(
                        lambda: _Connection(self, loop),
                        self._host,
                        self._port,
                        ssl=self._ssl,
                        server_hostname=hostname,
                    )
        except TimeoutError as error:
            raise ConnectError(f"dial tcp {self._shown()}: i/o timeout") from error
        except tls.SSLError as error:
            raise ConnectError(f"tls: {error.reason or 'handshake failed'}: {error}") from error
        except OSError as error:
            raise ConnectError(dial_text(self._shown(), error)) from error
        self._live.add(connection)
        return connection

    def _shown(self) -> str:
        if self._unix_path:
            return self._unix_path
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def put_back(self, connection: _Connection) -> None:
        """A connection finished its request."""
        if connection.usable and len(self._idle) < self._max_idle and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.drop()
        self.slot_freed()

    def gone(self, connection: _Connection) -> None:
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

            self._h2 = Http2Pool(
                self._host, self._port, self._ssl, self.authority, self._connect_timeout
            )
        response: ClientResponse = await self._h2.request(
            method, target, headers, body, content_length
        )
        return response


def dial_text(address: str, error: OSError) -> str:
    """A connect failure in Go's words."""
    if error.errno:
        reason = os.strerror(error.errno).lower()
    else:
        reason = str(error).lower()
        for errno, exception in ((111, ConnectionRefusedError), (113, None)):
            if exception is not None and isinstance(error, exception):
                reason = os.strerror(errno).lower()
    if "refused" in str(error).lower():
        reason = "connection refused"
    return f"dial tcp {address}: connect: {reason}"


class _Connection(asyncio.Protocol):
    """One connection, at most one request at a time."""

    def __init__(self, client: HttpClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._transport: Any = None
        self._parser: Any = None
        self._head: asyncio.Future[ClientResponse] | None = None
        self._headers: list[Header] = []
        self._header_size = 0
        self._reason = b""
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._error: ResponseError | None = None
        self._is_head_request = False
        self._keep = True
        self._lost = False
        self._any_byte = False
        self._skip_informational = False
        self.idle_since = 0.0
        self.body_done = True
        self.released = True

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return not self._lost and self._keep and not self._transport.is_closing()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    async def send(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> ClientResponse:
        """Write a request and wait for the response head."""
        self.released = False
        self.body_done = False
        self._is_head_request = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self._any_byte = False
        head = self._head = self._loop.create_future()
        parts = [
            b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target, self._client.authority)
        ]
        for name, value in headers:
            parts.append(b"%b: %b\r\n" % (name, safe_value(value)))
        if body is None or isinstance(body, bytes):
            if body or method in ("POST", "PUT", "PATCH"):
                parts.append(b"Content-Length: %d\r\n" % len(body or b""))
            parts.append(b"\r\n")
            if body:
                parts.append(body)
            self._transport.write(b"".join(parts))
        else:
            chunked = content_length is None
            framing = (
                b"Transfer-Encoding: chunked\r\n"
                if chunked
                else b"Content-Length: %d\r\n" % (content_length or 0)
            )
            parts.append(framing + b"\r\n")
            self._transport.write(b"".join(parts))
            self._sender = self._loop.create_task(self._send_body(body, chunked))
        try:
            response: ClientResponse = await head
        finally:
            self._head = None
        return response

    async def _send_body(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        try:
            async for chunk in body:
                if not chunk:
                    continue
                if chunked:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                else:
                    self._transport.write(chunk)
                if self._writable is not None:
                    await self._writable
            if chunked:
                self._transport.write(b"0\r\n\r\n")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the response
            self._keep = False
            head = self._head
            if head is not None and not head.done():
                head.set_exception(error)
            self._transport.abort()
        finally:
            closer = getattr(body, "aclose", None)
            if closer is not None:
                await closer()

    # --- parser callbacks -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._keep = False  # bytes nobody asked for: the connection cannot be trusted
            self._transport.abort()
            return
        self._any_byte = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("unexpected protocol upgrade")
        except httptools.HttpParserError as error:
            self._fail(f"malformed HTTP response: {error}")

    def on_message_begin(self) -> None:
        self._headers = []
        self._header_size = 0
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        if self._header_size > self._client.max_header_bytes:
            self._fail("server response headers exceeded the limit")
            return
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None:
            return
        status = parser.get_status_code()
        self._skip_informational = 100 <= status < 200 and status != 101
        if self._skip_informational:
            return
        self._keep = self._keep and parser.should_keep_alive()
        length = next((int(v) for n, v in self._headers if n == b"content-length"), None)
        if self._head is not None and not self._head.done():
            reason = self._reason.decode("latin-1")
            self._head.set_result(ClientResponse(status, reason, self._headers, length, self))
        if self._is_head_request or status in (204, 304):
            # llhttp cannot know that no body follows a HEAD.
            self._finish()

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._skip_informational:
            self._skip_informational = False
            return
        if not self.body_done:
            self._finish()

    def _finish(self) -> None:
        self.body_done = True
        if self._sender is not None and not self._sender.done():
            self._keep = False  # answered before the whole request was sent
        self._wake()

    def _fail(self, message: str) -> None:
        self._keep = False
        error = ResponseError(message, before_response=not self._any_byte)
        if self._error is None:
            self._error = error
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        self._wake()
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._client.gone(self)
        if self._sender is not None:
            self._sender.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()
        parser = self._parser
        if parser is not None and not self.body_done:
            until_close = self._head is None and not self._declares_length()
            if until_close and exc is None:
                self._finish()
                return
            text = "unexpected EOF" if self._any_byte else "EOF"
            error = ResponseError(str(exc) if exc else text, before_response=not self._any_byte)
            self._error = self._error or error
            if self._head is not None and not self._head.done():
                self._head.set_exception(error)
        self._wake()

    def _declares_length(self) -> bool:
        return any(n in (b"content-length", b"transfer-encoding") for n, _ in self._headers)

    # --- body -------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What arrived of the body since the last call."""
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks = []
        self._size = 0
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def wait(self) -> None:
        """Wait for more of the body. Raises ``ResponseError``."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._chunks:
            raise self._error

    def release(self) -> None:
        """The response was read or dropped."""
        if self.released:
            return
        if not self.body_done or self._error is not None:
            self.destroy()
            return
        self.released = True
        self._parser = None
        self._sender = None
        self._client.put_back(self)

    def destroy(self) -> None:
        """Cut the connection and free its slot."""
        self.drop()
        if not self.released:
            self.released = True
            self._client.slot_freed()

    def drop(self) -> None:
        """Cut the connection."""
        self._keep = False
        if self._sender is not None:
            self._sender.cancel()
        self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- flow control -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
