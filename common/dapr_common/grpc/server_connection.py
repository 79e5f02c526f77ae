"""One client's connection to a gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError, encode_message
from dapr_common.grpc.server_stream import ServerStream
from dapr_common.grpc.wire import ACCEPTED_ENCODINGS, no_decompressor
from dapr_common.http2 import session as h2
from dapr_common.http2.serving import ServingConnection
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.grpc.server import GrpcServer

Identify = Callable[[tls.SSLObject], object]

_LOG = get_logger("dapr.grpc.server")
_PING_STRIKES = 2
_HANDSHAKE_SECONDS = 30.0
_ENCODINGS = frozenset({b"identity", b"gzip", b"deflate"})
_CONTENT_TYPE = b"application/grpc"
_MOST_ERROR_BYTES = 32 << 10  # where the peer names no limit; nghttp2 has one of 64 KiB
_CONTENT_TYPES = (b"application/grpc+", b"application/grpc;")


class ServerConnection(ServingConnection):
    """One connection: its calls, its pings, its end."""

    def __init__(
        self, server: GrpcServer, loop: asyncio.AbstractEventLoop, identify: Identify | None
    ) -> None:
        session = h2.server_session(
            max_streams=server.max_concurrent_streams,
            max_header_list=server.max_header_list_bytes,
            engine=server.engine,
        )
        super().__init__(loop, session)
        self.server = server
        self.streams: dict[int, ServerStream] = {}
        self._identify = identify
        self._peer = ""
        self._identity: object = None
        self._idle_since = self.last_activity
        self._last_ping = -1e9
        self._strikes = 0
        self._answered = False
        self.error_bytes = _MOST_ERROR_BYTES

    @property
    def open_streams(self) -> int:
        return len(self.streams)

    # --- the socket -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self.server.closing:
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
            self._peer = f"{host}:{peer[1]}"
        if self._identify is not None:
            try:
                self._identity = self._identify(transport.get_extra_info("ssl_object"))
            except Exception as error:  # noqa: BLE001 - an unidentified peer is refused
                _LOG.warning("connection of %s refused: %s", self._peer, error)
                transport.abort()
                return
        self.server.connections.add(self)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.forget(self)
        self._stop_drain_timer()
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            stream.abandon()

    def _dispatch(self, events: list[Any]) -> None:
        for event in events:
            kind = type(event)
            if kind is h2.RequestReceived:
                self._request(event)
            elif kind is h2.DataReceived:
                self._data(event)
            else:
                self._other(kind, event)

    def _broken(self, reason: str) -> None:
        _LOG.debug("connection of %s broke the protocol: %s", self._peer, reason)
        self._close()

    def _data(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.failure is not None:
            self.acknowledge(len(event.data), event.stream_id)
        else:
            stream.take_data(event.data)
        if event.end_stream:
            self._input_ended(event.stream_id, stream)

    def _input_ended(self, stream_id: int, stream: ServerStream | None) -> None:
        if stream is None:
            self._lingering.discard(stream_id)
            return
        stream.end_input()
        if stream.task is None:
            self._start(stream)

    def _other(self, kind: type, event: Any) -> None:
        if kind is h2.StreamReset or kind is h2.StreamClosed:
            self._lingering.discard(event.stream_id)
            stream = self.streams.pop(event.stream_id, None)
            if stream is not None:
                self.blocked.discard(stream)
                stream.abandon()
                self._check_idle()
        elif kind is h2.TrailersReceived:
            self._input_ended(event.stream_id, self.streams.get(event.stream_id))
        elif kind is h2.SettingsReceived:
            self._greeted = True
            if taken := event.settings.get(h2.MAX_HEADER_LIST_SIZE):
                # gRPC's C library drops answers at random from half of its limit on.
                self.error_bytes = min(taken // 2, _MOST_ERROR_BYTES)
        elif kind is h2.PingReceived:
            self._pinged()
        elif kind is h2.PingAcknowledged:
            self._ping_answered(event.opaque_data)
        elif kind is h2.ConnectionClosed:
            self._transport.close()

    # --- calls ------------------------------------------------------------------------------

    def _request(self, event: Any) -> None:
        pairs = event.headers
        stream_id = event.stream_id
        index = dict(reversed(pairs))  # the first value of each name
        content_type = index.get(b"content-type", b"")
        if content_type != _CONTENT_TYPE and not content_type.startswith(_CONTENT_TYPES):
            shown = content_type.decode("latin-1")
            text = f'invalid gRPC request content-type "{shown}"'
            self._refuse(stream_id, b"415", GrpcCode.INVALID_ARGUMENT, text)
            return
        http_method = index.get(b":method", b"")
        if http_method != b"POST":
            shown = http_method.decode("latin-1")
            text = f'Received a HEADERS frame with :method "{shown}" which should be POST'
            self._refuse(stream_id, b"405", GrpcCode.INTERNAL, text)
            return
        server = self.server
        path = index.get(b":path", b"")
        known = server.methods.get(path)
        method = known or server.fallback
        text = known.path if known is not None else path.decode("latin-1")
        encoding = index.get(b"grpc-encoding", b"identity")
        context = Context(None, text, pairs, self._peer, self._identity, index)
        chosen = method or Method(text, "unary_unary", None, None, _unserved)
        stream = ServerStream(self, stream_id, chosen, context, encoding)
        context.attach(stream)
        self.streams[stream_id] = stream
        try:
            if (timeout := index.get(b"grpc-timeout")) is not None or server.max_call_seconds:
                stream.set_timeout(timeout)
            if server.before is not None:
                server.before(context, known)
            if method is None:
                raise server.unknown(text)
            if encoding not in _ENCODINGS:
                context.trailers.append((b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
                raise no_decompressor(GrpcCode.UNIMPLEMENTED, encoding)
        except RpcError as error:
            stream.input_done = event.end_stream
            stream.finish(error)
            return
        except Exception as error:  # noqa: BLE001 - becomes the status of the call
            stream.input_done = event.end_stream
            stream.finish(stream.mapped(error))
            return
        if event.end_stream:
            stream.end_input()
        if event.end_stream or not method.one_request:
            self._start(stream)

    def _refuse(self, stream_id: int, status: bytes, code: GrpcCode, text: str) -> None:
        headers = [
            (b":status", status),
            (b"content-type", _CONTENT_TYPE),
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", encode_message(text)),
        ]
        self.session.send_response(stream_id, headers, end_stream=True)
        self._lingering.add(stream_id)

    def _start(self, stream: ServerStream) -> None:
        if not stream.done:
            task = stream.task = asyncio.Task(stream.run(), loop=self.loop, name="grpc-call")
            self.server.tasks.add(task)

    def finished(self, stream: ServerStream) -> None:
        """A call was answered."""
        self.streams.pop(stream.id, None)
        if self.blocked:
            self.blocked.discard(stream)
        if not stream.input_done:
            self._lingering.add(stream.id)
        self._check_idle()
        self.answered()

    def answered(self) -> None:
        """Headers or messages go out, so the client's pings are not idle ones."""
        self._answered = True
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    # --- life -------------------------------------------------------------------------------

    def _check_idle(self) -> None:
        if not self.streams:
            self._idle_since = self.loop.time()

    def _pinged(self) -> None:
        now = self.loop.time()
        early = now - self._last_ping < self.server.min_client_ping_interval
        self._last_ping = now
        if self._answered or not early:
            self._answered = False
            self._strikes = 0
            return
        self._strikes += 1
        if self._strikes > _PING_STRIKES:
            with contextlib.suppress(h2.SessionError):
                self.session.send_goaway(h2.ENHANCE_YOUR_CALM, debug_data=b"too_many_pings")
            self._close()

    def tick(self, now: float) -> None:
        """Look after keepalive and idle time."""
        server = self.server
        quiet = now - self.last_activity
        if self._ping_lost(now, server.ping_timeout):
            self.abort()
        elif not self._greeted:
            if quiet > _HANDSHAKE_SECONDS:
                self.abort()
        elif (
            server.max_idle is not None
            and not self.streams
            and now - self._idle_since > server.max_idle
        ):
            self.shut_down()
        elif (
            server.ping_interval is not None
            and self._ping_sent is None
            and quiet > server.ping_interval
        ):
            self._ping(now)


async def _unserved(request: bytes, context: Context) -> bytes:
    raise AssertionError("a method nobody serves was called")
