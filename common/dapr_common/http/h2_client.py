"""The h2c side of the HTTP client: requests as streams of few connections, by prior knowledge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from dapr_common.http.h2_client_stream import ClientStream, UnprocessedError
from dapr_common.http.headers import HOP_BY_HOP, safe_value
from dapr_common.http.messages import Header
from dapr_common.http.response import SAFE_METHODS, Body, ClientResponse, ResponseError
from dapr_common.http2 import session as h2
from dapr_common.http2.connection import Http2Connection

_STREAMS = 100
_MOST_CONNECTIONS = 8
_ATTEMPTS = 3
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_NOT_OURS = HOP_BY_HOP | {b"host", b"content-length"}

Make = Callable[[], "Http2ClientConnection"]


class Dial(Protocol):
    """Makes a connection. Raises ``ConnectError``."""

    def __call__(self, make: Make, /) -> Awaitable[Http2ClientConnection]: ...


class Http2Pool:
    """Requests to one target."""

    def __init__(self, dial: Dial, authority: bytes, max_header_bytes: int) -> None:
        self._dial = dial
        self.authority = authority
        self.max_header_bytes = max_header_bytes
        self._connections: list[Http2ClientConnection] = []
        self._every: set[Http2ClientConnection] = set()
        self._dialling = asyncio.Lock()

    async def request(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> ClientResponse:
        """Send one request. Raises ``ConnectError`` or ``ResponseError``."""
        replayable = body is None or isinstance(body, bytes)
        attempt = 0
        while True:
            attempt += 1
            connection, fresh = await self._connection()
            try:
                return await connection.send(method, target, headers, body, content_length)
            except UnprocessedError:
                if not replayable or attempt == _ATTEMPTS:
                    raise
            except ResponseError as error:
                safe = replayable and method in SAFE_METHODS and error.before_response
                if fresh or not safe or attempt == _ATTEMPTS:
                    raise

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return any(connection.streams for connection in self._every)

    async def close(self) -> None:
        """Cut every connection."""
        for connection in list(self._every):
            connection.abort()

    async def _connection(self) -> tuple[Http2ClientConnection, bool]:
        found = self._usable()
        if found is not None:
            return found, False
        async with self._dialling:
            found = self._usable()
            if found is not None:
                return found, False
            loop = asyncio.get_running_loop()
            made = await self._dial(lambda: Http2ClientConnection(self, loop))
            self._connections.append(made)
            self._every.add(made)
            return made, True

    def _usable(self) -> Http2ClientConnection | None:
        for connection in self._connections:
            if len(connection.streams) < _STREAMS:
                return connection
        if len(self._connections) < _MOST_CONNECTIONS:
            return None
        return min(self._connections, key=lambda connection: len(connection.streams))

    def retire(self, connection: Http2ClientConnection) -> None:
        """A connection takes no more requests."""
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)

    def forget(self, connection: Http2ClientConnection) -> None:
        """A connection ended."""
        self.retire(connection)
        self._every.discard(connection)


class Http2ClientConnection(Http2Connection):
    """One connection and its streams."""

    def __init__(self, pool: Http2Pool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, h2.client_session(max_header_list=pool.max_header_bytes))
        self.pool = pool
        self.streams: dict[int, ClientStream] = {}
        self._retired = False

    async def send(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> ClientResponse:
        """Open a stream and wait for the response head. Raises ``ResponseError``."""
        fields = self._fields(method, target, headers, body, content_length)
        stream = ClientStream(self)
        try:
            stream.id = self.session.send_request(fields, end_stream=not body)
            if isinstance(body, bytes) and body:
                self.session.send_data(stream.id, body, end_stream=True)
        except h2.SessionError as error:
            self._retire()
            raise UnprocessedError(str(error), before_response=True) from error
        self.streams[stream.id] = stream
        self.flush_soon()
        if body and not isinstance(body, bytes):
            stream.send(body, content_length)
        try:
            return await stream.head
        except BaseException:
            stream.release()
            raise

    def _fields(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> list[Header]:
        fields = [
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":path", target),
            (b":authority", self.pool.authority),
        ]
        for name, value in headers:
            key = name.lower()
            if key not in _NOT_OURS:
                fields.append((key, safe_value(value).strip(b" \t")))
        length = content_length
        if body is None or isinstance(body, bytes):
            length = len(body or b"") if body or method in _WITH_BODY else None
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        return fields

    # --- the socket -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "unexpected EOF")

    def _broken(self, reason: str) -> None:
        self._end(f"malformed HTTP response: {reason}")
        self.abort()

    def _end(self, reason: str) -> None:
        self._retired = True
        self.pool.forget(self)
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            stream.fail(ResponseError(reason, before_response=not stream.answered))

    def _dispatch(self, events: list[Any]) -> None:
        for event in events:
            if type(event) is h2.ConnectionClosed and event.error_code:
                # The streams end by this, whatever their own events say.
                shown = event.debug_data.decode("latin-1") or f"error code {event.error_code}"
                self._end(f"malformed HTTP response: {shown}")
        for event in events:
            kind = type(event)
            if kind is h2.GoAwayReceived:
                self._going_away(event)
            elif kind is h2.ConnectionClosed:
                self._transport.close()
            elif kind is not h2.SettingsReceived and hasattr(event, "stream_id"):
                self._on_stream(kind, event)

    def _on_stream(self, kind: type, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            if kind is h2.DataReceived:
                self.acknowledge(len(event.data), event.stream_id)
        elif kind is h2.DataReceived:
            stream.take_data(event.data, end=event.end_stream)
        elif kind is h2.ResponseReceived:
            stream.take_head(event.headers, end=event.end_stream)
        elif kind is h2.TrailersReceived:
            stream.finish()
        elif kind is h2.StreamReset or kind is h2.StreamClosed:
            stream.closed(event.error_code, by_peer=kind is h2.StreamReset)

    def _going_away(self, event: Any) -> None:
        self._retire()
        for number in [number for number in self.streams if number > event.last_stream_id]:
            stream = self.streams.pop(number)
            stream.fail(UnprocessedError("http2: server sent GOAWAY", before_response=True))
        if not self.streams:
            self._close()

    def _retire(self) -> None:
        self._retired = True
        self.pool.retire(self)

    def forget(self, stream: ClientStream) -> None:
        """A stream is over, read or given up."""
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            self.blocked.discard(stream)
        if self._retired and not self.streams and not self._transport.is_closing():
            self._close()
