"""The receiving half of an HTTP/1.1 server's connection: from bytes to requests, within limits."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from dapr_common.http.body import BodyReader
from dapr_common.http.messages import BodyTooLargeError, Header, Request, Response
from dapr_common.http.request_line import mended

if TYPE_CHECKING:
    from dapr_common.http.server import HttpServer

_READ_AHEAD = 32
_H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAMING = frozenset({b"content-length", b"host", b"transfer-encoding", b"expect", b"upgrade"})
_TEXT: Header = (b"Content-Type", b"text/plain; charset=utf-8")


Received = tuple[Request, BodyReader | None, bool]
"""A request that waits for its turn, its body, and whether the connection may go on after it."""


class Incoming(asyncio.Protocol):
    """Cuts what arrives into requests; ``_next`` and ``_switch`` belong to the other half."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._peer = ""
        self._url: bytes | None = None
        """``None`` between requests."""
        self._odd_method = ""
        self._headers: list[Header] = []
        self._header_size = 0
        self._in_headers = True
        self._fresh = True
        self._held = b""
        self._progress = False
        self._unparsed = 0
        self._reader: BodyReader | None = None
        self._queue: deque[Received] = deque()
        self._task: asyncio.Task[None] | None = None
        self._error: Response | None = None
        self._upgrade: tuple[Request, bytes] | None = None
        self._body_later: BodyReader | None = None
        self._resuming = False
        self._reading_paused = False
        self._ended = False
        self._since = loop.time()

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._error is not None:
            return
        if self._fresh:
            data = self._first(data)
            if not data:
                return
        self._feed(data)
        if self._in_headers or self._reader is not None:
            self._count_unparsed(len(data))
        if self._task is None:
            self._next()

    def _first(self, data: bytes) -> bytes:
        """What HTTP/1.1 gets of a connection's first bytes: nothing when they speak HTTP/2."""
        if self._held:
            data = self._held + data
        if self._server.h2c and _H2_PREFACE.startswith(data[: len(_H2_PREFACE)]):
            if len(data) < 4:
                self._held = data
            else:
                self._switch(data)
            return b""
        self._fresh = False
        return data

    def _feed(self, data: bytes) -> None:
        while data:
            between = self._url is None
            waiting = len(self._queue)
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stop:
                data = self._after_upgrade(data[stop.args[0] :])
            except httptools.HttpParserError:
                # Data that began between requests and brought none to its end begins with the
                # one that is wrong.
                begins = between and len(self._queue) == waiting
                found = mended(data) if begins else None
                if found is None:
                    self._refuse(400, "Bad Request")
                    return
                method, data = found
                self._odd_method = method or self._odd_method
                self._url = None
                self._parser = httptools.HttpRequestParser(self)

    def _count_unparsed(self, size: int) -> None:
        # The parser keeps a header, trailer or chunk size line until it ends: this is the bound.
        if self._progress:
            self._progress = False
            self._unparsed = 0
            return
        self._unparsed += size
        if self._unparsed > self._server.max_header_bytes:
            self._refuse(431, "Request Header Fields Too Large")

    # --- what the parser finds --------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._header_size = 0
        self._in_headers = True
        self._progress = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        assert self._url is not None
        self._url += url
        self._header_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        if self._in_headers:
            # The parser leaves the blanks behind a value, which are none of it.
            self._headers.append((name.lower(), value.strip()))
        elif self._header_size > self._server.max_header_bytes:
            self._refuse(431, "Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._resuming or self._error is not None:
            return
        if self._header_size > self._server.max_header_bytes:
            self._refuse(431, "Request Header Fields Too Large")
        else:
            self._begin(self._headers)

    def _begin(self, headers: list[Header]) -> None:
        """The headers of a request are there."""
        parser = self._parser
        version = parser.get_http_version()
        length, hosts, expects, coding, upgrades = _framing(headers)
        if version != "1.1" or hosts != 1 or expects or coding not in (None, b"chunked"):
            refusal = _refusal(version, hosts, expects, coding)
            if refusal is not None:
                self._refuse(*refusal)
                return
        request = self._request(length, version)
        reader = None
        if length != 0:
            reader = self._body_reader(length, expects is not None and version == "1.1")
        if not upgrades:
            self._reader = reader
        elif self._takes_upgrade(request):
            return
        elif parser.should_upgrade():
            self._body_later = reader
        else:
            self._reader = reader
        self._queue.append((request, reader, parser.should_keep_alive()))
        if len(self._queue) > _READ_AHEAD:
            self._pause()

    def _request(self, length: int | None, version: str) -> Request:
        assert self._url is not None
        path, _, query = self._url.partition(b"?")
        if path[:1] != b"/":
            path = _origin_form(path)
        method = self._parser.get_method().decode()
        if self._odd_method:
            method, self._odd_method = self._odd_method, ""
        return Request(
            method,
            path,
            query,
            self._headers,
            content_length=length,
            http_version=version,
            peer=self._peer,
        )

    def on_body(self, data: bytes) -> None:
        self._progress = True
        if self._reader is not None:
            self._reader.feed(data)

    def on_message_complete(self) -> None:
        if self._reader is not None:
            self._reader.finish()
            self._reader = None
        self._url = None
        self._header_size = 0
        self._since = self._loop.time()

    def _body_reader(self, length: int | None, expects: bool) -> BodyReader:
        limit = self._server.max_body_bytes
        reader = BodyReader(limit, self._pause, self._resume)
        if limit is not None and length is not None and length > limit:
            reader.fail(BodyTooLargeError())
        elif expects:
            reader.on_first_read = self._continue
        return reader

    def _continue(self) -> None:
        raise NotImplementedError

    # --- upgrades and refusals --------------------------------------------------------------

    def _takes_upgrade(self, request: Request) -> bool:
        """Whether the connection goes on as HTTP/2; any other upgrade is ignored."""
        if not self._server.h2c or self._queue or self._task is not None:
            return False
        if request.content_length != 0 or request.http_version != "1.1":
            return False
        settings = [value for name, value in request.headers if name == b"http2-settings"]
        if len(settings) != 1 or b"h2c" not in _tokens(request, b"upgrade"):
            return False
        if not {b"upgrade", b"http2-settings"} <= _tokens(request, b"connection"):
            return False
        try:
            payload = urlsafe_b64decode(settings[0] + b"=" * (-len(settings[0]) % 4))
        except ValueError:
            return False
        self._upgrade = (request, payload)
        return True

    def _after_upgrade(self, rest: bytes) -> bytes:
        """Go on behind a request that asked for another protocol; the bytes still to parse."""
        if self._upgrade is not None:
            self._switch(rest)
            return b""
        if self._parser.get_method() == b"CONNECT":
            # Its body is not framed for us, so what follows it cannot be told apart.
            if self._queue:
                request, reader, _ = self._queue.pop()
                self._queue.append((request, reader, False))
            self._parser = None
            return b""
        self._parser = httptools.HttpRequestParser(self)
        if self._body_later is not None:
            self._resume_body(self._body_later)
            self._body_later = None
        return rest

    def _resume_body(self, reader: BodyReader) -> None:
        # The parser takes what follows an upgrade for another protocol, a body included: a new
        # one learns from a head made up here how this body ends.
        length = self._queue[-1][0].content_length
        framing = (
            b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        )
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._resuming = False
        self._reader = reader

    def _refuse(self, status: int, text: str) -> None:
        """End the connection with this answer, after those to earlier requests."""
        if self._error is None:
            body = f"{status} {text}".encode()
            self._error = Response(status, [_TEXT], body, close=True)
        self._pause()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.connection_lost()

    def _pause(self) -> None:
        if not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._reading_paused and self._error is None and not self._ended:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _may_read_on(self) -> None:
        if self._reading_paused and len(self._queue) <= _READ_AHEAD // 2 and self._reader is None:
            self._resume()

    # --- the other half ---------------------------------------------------------------------

    def _next(self) -> None:
        """Serve the next request in the queue."""
        raise NotImplementedError

    def _switch(self, data: bytes) -> None:
        """Hand the connection and these bytes over to HTTP/2."""
        raise NotImplementedError


def _framing(
    headers: list[Header],
) -> tuple[int | None, int, bytes | None, bytes | None, bool]:
    """Body length (``None``: chunked), number of hosts, expectation, coding, and an upgrade."""
    length: int | None = 0
    hosts = 0
    expects = coding = None
    upgrades = False
    for name, value in headers:
        if name not in _FRAMING:
            continue
        if name == b"content-length":
            length = int(value)
        elif name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            length, coding = None, value.lower()
        elif name == b"expect":
            expects = value.lower()
        else:
            upgrades = True
    return length, hosts, expects, coding, upgrades


def _refusal(
    version: str, hosts: int, expects: bytes | None, coding: bytes | None
) -> tuple[int, str] | None:
    """What speaks against a request, in Go's words."""
    if version not in ("1.0", "1.1"):
        return 505, "HTTP Version Not Supported: unsupported protocol version"
    if hosts > 1:
        return 400, "Bad Request: too many Host headers"
    if version == "1.0":
        # Before 1.1 there were no chunks: such a length is a guess somebody else may not share.
        return None if coding is None else (400, "Bad Request")
    if hosts == 0:
        return 400, "Bad Request: missing required Host header"
    if coding not in (None, b"chunked"):
        return 501, "Not Implemented: Unsupported transfer encoding"
    if expects not in (None, b"", b"100-continue"):
        return 417, "Expectation Failed"
    return None


def _tokens(request: Request, name: bytes) -> set[bytes]:
    values = b",".join(value for found, value in request.headers if found == name)
    return {token.strip().lower() for token in values.split(b",")}


def _origin_form(target: bytes) -> bytes:
    """``http://host/path`` (proxy form) and ``*`` → a path."""
    _, separator, rest = target.partition(b"://")
    if not separator:
        return b"/" + target
    return b"/" + rest.partition(b"/")[2]
