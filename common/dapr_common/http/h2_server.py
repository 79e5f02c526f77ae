"""One h2c connection of a server: by prior knowledge, or upgraded from HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any

from dapr_common.http import outgoing
from dapr_common.http.body import BodyReader
from dapr_common.http.headers import HOP_BY_HOP, safe_value
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_common.http2 import session as h2
from dapr_common.http2.serving import ServingConnection
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.http.server import HttpServer

_LOG = get_logger("dapr.http.server")
_SEND_HIGH_WATER = 64 << 10
_FIELDS_OVERHEAD = 320  # HTTP/2 counts 32 bytes for each header; a few are free, as in Go
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
_NOT_OURS = HOP_BY_HOP | {b"date", b"content-length"}
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")


class Http2Protocol(ServingConnection):
    """One connection."""

    def __init__(
        self, server: HttpServer, loop: asyncio.AbstractEventLoop, session: h2.Session
    ) -> None:
        super().__init__(loop, session)
        self.server = server
        self.peer = ""
        self._streams: dict[int, _Stream] = {}
        self._begun: list[_Stream] = []
        self._since = loop.time()

    @classmethod
    def take_over(
        cls,
        server: HttpServer,
        loop: asyncio.AbstractEventLoop,
        transport: Any,
        upgrade: tuple[Request, bytes] | None,
        data: bytes,
    ) -> None:
        """Go on with a connection that began as HTTP/1.1; ``data`` is what it has read."""
        try:
            session = _session(server, upgrade)
        except (h2.SessionError, ValueError) as error:
            _LOG.debug("h2c upgrade refused: %s", error)
            transport.close()
            return
        connection = cls(server, loop, session)
        transport.set_protocol(connection)
        if upgrade is not None:
            transport.write(_SWITCHING)
        connection.connection_made(transport)
        if upgrade is not None:
            connection.serve_upgraded(upgrade[0])
        if data:
            connection.data_received(data)

    # --- the socket -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.server.connections.add(self)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self)
        self._stop_drain_timer()
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.abandon()

    def _dispatch(self, events: list[Any]) -> None:
        for event in events:
            self._take(event)
        for stream in self._begun:
            stream.start()
        self._begun.clear()

    def _broken(self, reason: str) -> None:
        _LOG.debug("connection of %s broke the protocol: %s", self.peer, reason)
        self._close()

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is h2.RequestReceived:
            self._request(event)
        elif kind is h2.DataReceived:
            self._data(event)
        elif kind is h2.StreamReset or kind is h2.StreamClosed:
            self._lingering.discard(event.stream_id)
            stream = self._streams.pop(event.stream_id, None)
            if stream is not None:
                self.blocked.discard(stream)
                stream.abandon()
                self._since = self.loop.time()
        elif kind is h2.TrailersReceived:
            self._input_ended(event.stream_id)
        elif kind is h2.SettingsReceived:
            self._greeted = True
        elif kind is h2.PingAcknowledged:
            self._ping_answered(event.opaque_data)
        elif kind is h2.ConnectionClosed:
            self._transport.close()

    # --- requests ---------------------------------------------------------------------------

    def _request(self, event: Any) -> None:
        request = _parse(event.headers, self.peer, ended=event.end_stream)
        stream = _Stream(self, event.stream_id, request)
        self._streams[event.stream_id] = stream
        if request is None:
            stream.send(Response(400, [_TEXT], b"400 Bad Request"), b"400 Bad Request")
            stream.finish(ended=event.end_stream)
            return
        if not event.end_stream:
            stream.expect_body(request)
        self._begun.append(stream)

    def serve_upgraded(self, request: Request) -> None:
        """Serve the request that asked for the upgrade, as stream 1."""
        self._greeted = True
        request.http_version = "2.0"
        stream = self._streams[1] = _Stream(self, 1, request)
        stream.start()

    def _data(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.reader is None:
            self.acknowledge(len(event.data), event.stream_id)
        else:
            stream.take_data(event.data)
        if event.end_stream:
            self._input_ended(event.stream_id)

    def _input_ended(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._lingering.discard(stream_id)
        elif stream.reader is not None:
            stream.reader.finish()

    def answered(self, stream: _Stream, *, ended: bool) -> None:
        """A response is complete."""
        self._streams.pop(stream.id, None)
        self.blocked.discard(stream)
        if not ended:
            self._lingering.add(stream.id)
        self._since = self.loop.time()
        self.flush_soon()

    # --- life -------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def running(self) -> Collection[asyncio.Task[None]]:
        """The requests that are being handled."""
        return [stream.task for stream in self._streams.values() if stream.task is not None]

    def shut_down_when_idle(self) -> None:
        """Say goodbye; close after the running responses."""
        self.shut_down()

    def expire(self, now: float) -> None:
        """Close when the peer takes too long."""
        server = self.server
        if self._streams:
            for stream in self._streams.values():
                stream.expire(now, server.idle_timeout)
        elif not self._greeted:
            if now - self._since > server.header_timeout:
                self.abort()
        elif now - self._since > server.idle_timeout:
            if self._shutting_down:
                self.abort()
            self._since = now
            self.shut_down()


class _Stream:
    """One request and its response."""

    __slots__ = ("_connection", "_unacknowledged", "_writer", "id", "reader", "request", "task")

    def __init__(self, connection: Http2Protocol, number: int, request: Request | None) -> None:
        self._connection = connection
        self._unacknowledged: int | None = None
        self._writer: asyncio.Future[None] | None = None
        self.id = number
        self.request = request
        self.reader: BodyReader | None = None
        self.task: asyncio.Task[None] | None = None

    # --- the request's body -----------------------------------------------------------------

    def expect_body(self, request: Request) -> None:
        """A body follows the headers."""
        limit = self._connection.server.max_body_bytes
        self.reader = BodyReader(limit, self._hold, self._let_go)
        length = request.content_length
        if limit is not None and length is not None and length > limit:
            self.reader.fail(BodyTooLargeError())

    def take_data(self, data: bytes) -> None:
        """Take a piece of the body; the peer may send as much again unless the reader is slow."""
        assert self.reader is not None
        self.reader.feed(data)
        if self._unacknowledged is None:
            self._connection.acknowledge(len(data), self.id)
        else:
            self._unacknowledged += len(data)

    def _hold(self) -> None:
        self._unacknowledged = 0

    def _let_go(self) -> None:
        amount, self._unacknowledged = self._unacknowledged, None
        if amount:
            self._connection.acknowledge(amount, self.id)

    def expire(self, now: float, limit: float) -> None:
        """Give up on a body that does not go on."""
        if self.reader is not None and self.reader.stalled_since(now) > limit:
            self.reader.fail(BodyIncompleteError("timeout reading the request body"))

    def abandon(self) -> None:
        """The peer reset the stream or went away."""
        if self.reader is not None:
            self.reader.connection_lost()
        if self.task is not None:
            self.task.cancel()

    # --- serving ----------------------------------------------------------------------------

    def start(self) -> None:
        """Handle the request."""
        request, reader = self.request, self.reader
        assert request is not None
        if reader is not None:
            request.body = reader.take_whole()
            if request.body is None:
                request.stream = reader
            elif request.content_length is None:
                request.content_length = len(request.body)
        self.task = self._connection.loop.create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            response = await self._connection.server.handler(request)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect must not end the server
            _LOG.exception("%s %s failed", request.method, request.path.decode("latin-1"))
            response = Response(500, [_TEXT], b"internal error")
        try:
            await self._answer(request, response)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - too late for a status: the reset tells the peer
            _LOG.debug("response broke off: %s", error)
            self._connection.session.reset_stream(self.id, h2.INTERNAL_ERROR)
            self._connection.answered(self, ended=True)
            return
        self.finish(ended=self.reader is None or self.reader.done)

    async def _answer(self, request: Request, response: Response) -> None:
        body = response.body
        if isinstance(body, bytes):
            self.send(response, body, empty=request.method == "HEAD")
            return
        if self.reader is not None:
            self.reader.patient = True
        await self._stream(response, body, empty=request.method == "HEAD")

    def finish(self, *, ended: bool) -> None:
        """The response is queued; ``ended`` is whether the request has come to its end."""
        if self.reader is not None:
            self.reader.discard()
        self.task = None
        self._connection.answered(self, ended=ended)

    def send(self, response: Response, body: bytes, *, empty: bool = False) -> None:
        """Queue a whole response."""
        length: int | None = len(body)
        if response.status in outgoing.NO_BODY:
            length, empty = None, True
        elif empty and (declared := outgoing.declared_length(response)) is not None:
            length = declared
        session = self._connection.session
        end = empty or not body
        session.send_response(self.id, _headers(response, length), end_stream=end)
        if not end:
            session.send_data(self.id, body, end_stream=True)

    async def _stream(self, response: Response, body: AsyncIterator[bytes], *, empty: bool) -> None:
        connection = self._connection
        session = connection.session
        empty = empty or response.status in outgoing.NO_BODY
        length = outgoing.declared_length(response)
        sent = 0
        try:
            session.send_response(self.id, _headers(response, length), end_stream=empty)
            connection.flush_soon()
            if empty:
                return
            async for piece in body:
                if piece:
                    sent += len(piece)
                    session.send_data(self.id, piece)
                    connection.flush_soon()
                    if session.queued_body_size(self.id) > _SEND_HIGH_WATER:
                        await self._drain()
            if length is not None and sent != length:
                raise BodyIncompleteError(f"{sent} bytes where Content-Length says {length}")
            session.end_stream(self.id)
        finally:
            closer = getattr(body, "aclose", None)
            if closer is not None:
                await closer()

    async def _drain(self) -> None:
        """Wait until the peer has taken most of it; one that takes nothing loses the stream."""
        connection = self._connection
        session = connection.session
        connection.flush()
        left = session.queued_body_size(self.id)
        while left > _SEND_HIGH_WATER:
            self._writer = connection.loop.create_future()
            connection.blocked.add(self)
            timeout = connection.server.idle_timeout
            done, _ = await asyncio.wait([self._writer], timeout=timeout)
            before, left = left, session.queued_body_size(self.id)
            if not done and left >= before:
                raise BodyIncompleteError("the peer takes no more of the response")

    def wake_writers(self) -> None:
        """There may be room, or the stream ended."""
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)


def _session(server: HttpServer, upgrade: tuple[Request, bytes] | None) -> h2.Session:
    streams = server.max_concurrent_streams
    header_list = server.max_header_bytes + _FIELDS_OVERHEAD
    if upgrade is None:
        return h2.server_session(max_streams=streams, max_header_list=header_list)
    request, settings = upgrade
    return h2.upgraded_session(
        settings, head=request.method == "HEAD", max_streams=streams, max_header_list=header_list
    )


def _parse(pairs: tuple[h2.Header, ...], peer: str, *, ended: bool) -> Request | None:
    method = target = host = b""
    length: int | None = 0 if ended else None
    headers: list[h2.Header] = []
    for pair in pairs:
        name, value = pair
        if name[:1] != b":":
            headers.append(pair)
            if name == b"content-length" and not ended:
                if not value.isdigit():
                    return None
                length = int(value)
            elif name == b"host":
                host = value
        elif name == b":method":
            method = value
        elif name == b":path":
            target = value
        elif name == b":authority" and value:
            headers.insert(0, (b"host", value))
    if host and headers[0][0] == b"host" and headers[0][1] != host:
        return None
    if not method or (target[:1] != b"/" and target != b"*"):
        return None
    path, _, query = target.partition(b"?")
    return Request(
        method.decode("latin-1"),
        path if path[:1] == b"/" else b"/" + path,
        query,
        headers,
        content_length=length,
        http_version="2.0",
        peer=peer,
    )


def _headers(response: Response, length: int | None) -> list[h2.Header]:
    headers: list[h2.Header] = [(b":status", b"%d" % response.status)]
    for name, value in response.headers:
        key = name.lower()
        if key not in _NOT_OURS:
            headers.append((key, safe_value(value).strip(b" \t")))
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    headers.append((b"date", outgoing.DATE.value()))
    return headers
