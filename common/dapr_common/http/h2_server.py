"""One h2c connection of a server: by prior knowledge, or upgraded from HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from dapr_common.http.h2_server_stream import TEXT, ServerStream
from dapr_common.http.messages import Request, Response
from dapr_common.http2 import session as h2
from dapr_common.http2.serving import ServingConnection
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.http.server import HttpServer

_LOG = get_logger("dapr.http.server")
_BAD_REQUEST = b"400 Bad Request"
_FIELDS_OVERHEAD = 320  # HTTP/2 counts 32 bytes for each header; a few are free, as in Go
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


class Http2Protocol(ServingConnection):
    """One connection."""

    def __init__(
        self, server: HttpServer, loop: asyncio.AbstractEventLoop, session: h2.Session
    ) -> None:
        super().__init__(loop, session)
        self.server = server
        self.peer = ""
        self._streams: dict[int, ServerStream] = {}
        self._begun: list[ServerStream] = []
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
        stream = ServerStream(self, event.stream_id, request)
        self._streams[event.stream_id] = stream
        if request is None:
            stream.send(Response(400, [TEXT], _BAD_REQUEST), _BAD_REQUEST)
            stream.finish(ended=event.end_stream)
            return
        if not event.end_stream:
            stream.expect_body(request)
        self._begun.append(stream)

    def serve_upgraded(self, request: Request) -> None:
        """Serve the request that asked for the upgrade, as stream 1."""
        self._greeted = True
        request.http_version = "2.0"
        stream = self._streams[1] = ServerStream(self, 1, request)
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

    def answered(self, stream: ServerStream, *, ended: bool) -> None:
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
