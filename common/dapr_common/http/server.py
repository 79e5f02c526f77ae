"""An HTTP/1.1 server on ``httptools``: one ``asyncio.Protocol`` per connection, no framework.

Requests of one connection are answered in order, one at a time. A request whose bytes arrived in
one piece costs one task and one ``write``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import httptools

from dapr_common.http.body import BodyReader
from dapr_common.http.headers import safe_value
from dapr_common.http.messages import Handler, Header, Request, Response
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.http.server")
_DRAIN_LIMIT = 256 << 10
_READ_AHEAD = 32
_SWEEP_SECONDS = 1.0
_H2_PREFACE = b"PRI * HTTP/2.0\r\n"
_STATUS_LINES: dict[int, bytes] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_NO_BODY = frozenset({204, 304})
_TEXT: Header = (b"Content-Type", b"text/plain; charset=utf-8")


class _Date:
    """The ``Date`` header line, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self._line


_DATE = _Date()


class HttpServer:
    """Serves one handler on any number of listeners.

    ``max_body_bytes=None`` is unlimited; ``max_header_bytes`` counts the request line and headers.
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
        h2c: bool = True,
    ) -> None:
        self.handler = handler
        self.max_body_bytes = max_body_bytes
        self.max_header_bytes = max_header_bytes
        self.header_timeout = header_timeout
        self.idle_timeout = idle_timeout
        self.max_connections = max_connections
        self.h2c = h2c
        self.closing = False
        self.connections: set[Any] = set()
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event = asyncio.Event()

    @property
    def open_requests(self) -> int:
        """Requests that are being handled now."""
        return sum(connection.busy for connection in self.connections)

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
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()
        for connection in list(self.connections):
            connection.abort()

    def forget(self, connection: object) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._drained.set()

    def _start_sweeper(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.expire(now)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)


def bind_tcp(host: str | None, port: int) -> list[socket.socket]:
    """Bound TCP sockets; every interface of both families for ``None``. Raises ``OSError``."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if host == "localhost":
            host = "127.0.0.1"
        return [_bind(family, host.strip("[]"), port, dual=False)]
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return [_bind(socket.AF_INET6, "::", port, dual=True)]
    return [_bind(socket.AF_INET, "0.0.0.0", port, dual=False)]  # noqa: S104 - asked for


def _bind(family: socket.AddressFamily, host: str, port: int, *, dual: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


class HttpProtocol(asyncio.Protocol):
    """One HTTP/1.1 connection."""

    __slots__ = (
        "_error",
        "_fresh",
        "_header_size",
        "_headers",
        "_in_headers",
        "_loop",
        "_parser",
        "_peer",
        "_queue",
        "_reader",
        "_reading_paused",
        "_server",
        "_since",
        "_task",
        "_transport",
        "_url",
        "_writable",
    )

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._peer = ""
        self._url = b""
        self._headers: list[Header] = []
        self._header_size = 0
        self._in_headers = True
        self._fresh = True
        self._reader: BodyReader | None = None
        self._queue: deque[tuple[Request, BodyReader | None, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._error: Response | None = None
        self._writable: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._since = 0.0

    # --- connection -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        server = self._server
        limit = server.max_connections
        if server.closing or (limit is not None and len(server.connections) >= limit):
            transport.abort()
            return
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        server.connections.add(self)
        self._since = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        if self._reader is not None:
            self._reader.connection_lost()
        for _, reader, _ in self._queue:
            if reader is not None:
                reader.connection_lost()
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()
        self._parser = None

    @property
    def busy(self) -> bool:
        """Whether a request is being handled."""
        return self._task is not None

    def shut_down_when_idle(self) -> None:
        """Close now when nothing is under way; otherwise after the running response."""
        if self._task is None and not self._queue:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def expire(self, now: float) -> None:
        """Close when the peer takes too long to send a request."""
        if self._task is not None or self._transport.is_closing():
            return
        started = not self._fresh and self._header_size == 0 and not self._url
        limit = self._server.idle_timeout if started else self._server.header_timeout
        if now - self._since > limit:
            self._transport.close()

    # --- bytes in ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        if self._fresh:
            if self._server.h2c and data[:4] == b"PRI " and self._switch_to_h2(data):
                return
            self._fresh = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade_refused()
        except httptools.HttpParserError:
            self._malformed(400, "Bad Request")
        if self._in_headers and not self._error:
            # A block that never ends is counted by what arrived of it.
            self._header_size += len(data) if not self._headers and not self._url else 0
            if self._header_size > self._server.max_header_bytes:
                self._malformed(431, "Request Header Fields Too Large")
        if self._task is None:
            self._next()

    def eof_received(self) -> bool:
        if self._reader is not None:
            self._reader.connection_lost()
        # A half-closed peer still gets the answers to what it sent.
        return self._task is not None or bool(self._queue)

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._header_size = 0
        self._in_headers = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        parser = self._parser
        if self._header_size > self._server.max_header_bytes:
            self._malformed(431, "Request Header Fields Too Large")
            return
        if self._error is not None:
            return
        headers = self._headers
        version = parser.get_http_version()
        length: int | None = 0
        chunked = expects = host = False
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"host":
                host = True
            elif name == b"expect" and value.lower() == b"100-continue":
                expects = True
        if not host and version == "1.1":
            self._malformed(400, "Bad Request: missing required Host header")
            return
        path, _, query = self._url.partition(b"?")
        if path[:1] != b"/":
            path = _origin_form(path)
        reader: BodyReader | None = None
        if chunked or length:
            reader = self._make_reader(None if chunked else length, expects)
        self._reader = reader
        request = Request(
            parser.get_method().decode(),
            path,
            query,
            headers,
            content_length=None if chunked else length,
            http_version=version,
            peer=self._peer,
        )
        self._queue.append((request, reader, parser.should_keep_alive()))
        if len(self._queue) > _READ_AHEAD:
            self._pause()

    def on_body(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.feed(data)

    def on_message_complete(self) -> None:
        if self._reader is not None:
            self._reader.finish()
            self._reader = None
        self._url = b""
        self._header_size = 0
        self._since = self._loop.time()

    def _make_reader(self, length: int | None, expects: bool) -> BodyReader:
        limit = self._server.max_body_bytes
        reader = BodyReader(limit, self._pause, self._resume)
        if limit is not None and length is not None and length > limit:
            from dapr_common.http.messages import BodyTooLargeError

            reader.fail(BodyTooLargeError())
        elif expects:
            reader.on_first_read = self._continue
        return reader

    def _continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _upgrade_refused(self) -> None:
        # The request is served as a plain one; the bytes after it cannot be trusted any more.
        if self._queue:
            request, reader, _ = self._queue.pop()
            self._queue.append((request, reader, False))

    def _malformed(self, status: int, text: str) -> None:
        if self._error is None:
            body = f"{status} {text}".encode()
            self._error = Response(status, [_TEXT], body, close=True)
        self._pause()
        if self._reader is not None:
            self._reader.connection_lost()

    def _switch_to_h2(self, data: bytes) -> bool:
        if data[: len(_H2_PREFACE)] != _H2_PREFACE[: len(data)]:
            return False
        from dapr_common.http.h2_server import Http2Protocol

        self._server.connections.discard(self)
        protocol = Http2Protocol(self._server, self._loop)
        self._transport.set_protocol(protocol)
        self._parser = None
        protocol.connection_made(self._transport)
        protocol.data_received(data)
        return True

    def _pause(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._reading_paused and self._error is None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()

    # --- requests out -----------------------------------------------------------------------

    def _next(self) -> None:
        if self._queue:
            request, reader, keep = self._queue.popleft()
            if reader is not None:
                request.body = reader.take_whole()
                if request.body is None:
                    request.stream = reader
            self._task = self._loop.create_task(self._serve(request, reader, keep))
        elif self._error is not None:
            self._send_head(self._error, "1.1", b"", close=True)
            self._transport.close()

    async def _serve(self, request: Request, reader: BodyReader | None, keep: bool) -> None:
        try:
            response = await self._server.handler(request)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect must not end the server
            _LOG.exception("%s %s failed", request.method, request.path.decode("latin-1"))
            response = Response(500, [_TEXT], b"internal error", close=True)
        close = not keep or response.close or self._server.closing
        if reader is not None and not reader.done:
            close = self._leave_body(request, reader) or close
        body = response.body
        if isinstance(body, bytes):
            self._send_whole(request, response, body, close)
        else:
            close = await self._send_stream(request, response, close)
        if close:
            self._task = None
            self._transport.close()
            return
        if self._writable is not None:
            await self._drain()
        self._task = None
        self._since = self._loop.time()
        if self._queue or self._error is not None:
            self._next()
        if self._reading_paused and len(self._queue) <= _READ_AHEAD // 2 and self._reader is None:
            self._resume()

    def _leave_body(self, request: Request, reader: BodyReader) -> bool:
        """Deal with a body nobody read; returns whether the connection must end."""
        if reader.failed or request.content_length is None:
            return True
        if request.content_length - reader.received > _DRAIN_LIMIT or reader.on_first_read:
            return True
        reader.discard()
        return False

    def _send_whole(self, request: Request, response: Response, body: bytes, close: bool) -> None:
        status = response.status
        if status in _NO_BODY or request.method == "HEAD":
            length = b"" if status in _NO_BODY else b"Content-Length: %d\r\n" % len(body)
            body = b""
        else:
            length = b"Content-Length: %d\r\n" % len(body)
        self._send_head(response, request.http_version, length, close=close, body=body)

    def _send_head(
        self, response: Response, version: str, framing: bytes, *, close: bool, body: bytes = b""
    ) -> None:
        parts = [_STATUS_LINES.get(response.status) or _unknown_status(response.status)]
        for name, value in response.headers:
            parts.append(b"%b: %b\r\n" % (name, safe_value(value)))
        if response.body and not framing and not close:
            parts.append(b"Content-Length: %d\r\n" % len(response.body))  # type: ignore[arg-type]
        parts.append(framing)
        if close:
            parts.append(b"Connection: close\r\n")
        elif version == "1.0":
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(_DATE.line())
        parts.append(b"\r\n")
        if isinstance(response.body, bytes) and not body and close and response is self._error:
            body = response.body
        if body:
            parts.append(body)
        self._transport.write(b"".join(parts))

    async def _send_stream(self, request: Request, response: Response, close: bool) -> bool:
        body = response.body
        assert not isinstance(body, bytes)
        empty = response.status in _NO_BODY or request.method == "HEAD"
        declared = any(name.lower() == b"content-length" for name, _ in response.headers)
        chunked = not declared and not empty and request.http_version == "1.1"
        close = close or (not declared and not empty and not chunked)
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"\r\n"[:0]
        iterator = aiter(body)
        head_sent = False
        try:
            self._send_head(response, request.http_version, framing or b"", close=close)
            head_sent = True
            if empty:
                return close
            async for chunk in iterator:
                if not chunk:
                    continue
                if chunked:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                else:
                    self._transport.write(chunk)
                if self._writable is not None:
                    await self._drain()
            if chunked:
                self._transport.write(b"0\r\n\r\n")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - too late for a status: the cut tells the peer
            _LOG.debug("response body broke off: %s", error)
            if head_sent:
                self._transport.abort()
            return True
        finally:
            closer = getattr(iterator, "aclose", None)
            if closer is not None:
                await closer()
        return close

    # --- flow control -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _drain(self) -> None:
        if self._writable is not None:
            await self._writable


def _unknown_status(status: int) -> bytes:
    return b"HTTP/1.1 %d status code %d\r\n" % (status, status)


def _origin_form(target: bytes) -> bytes:
    """``http://host/path`` (proxy form) and ``*`` → a path."""
    _, separator, rest = target.partition(b"://")
    if not separator:
        return b"/" + target
    return b"/" + rest.partition(b"/")[2]
