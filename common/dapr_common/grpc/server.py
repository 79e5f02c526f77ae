"""A gRPC server over HTTP/2 sessions: all four kinds, raw proxying, deadlines, drain.

A unary call whose request arrived in one piece costs one task; answers of one loop turn leave in
one ``write``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError, encode_message
from dapr_common.grpc.wire import (
    ACCEPTED_ENCODINGS,
    Deframer,
    Pair,
    decode_bin,
    decode_metadata,
    encode_metadata,
    frame,
    frame_compressed,
    parse_timeout,
    too_large,
)
from dapr_common.http.server import bind_tcp
from dapr_common.http2 import session as h2
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.grpc.server")
Kind = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
Metadata = Sequence[tuple[str, str | bytes]]

_HEADERS_OK: list[Pair] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_TRAILERS_OK: list[Pair] = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
_SWEEP_SECONDS = 1.0
_SEND_HIGH_WATER = 256 << 10
_PING_STRIKES = 2


@dataclass(frozen=True, slots=True)
class Method:
    """One method. Types are protobuf classes, or ``None`` for raw bytes.

    Handlers: ``unary_unary``: ``await h(request, context)``; ``unary_stream``: an async generator
    ``h(request, context)``; ``stream_unary``: ``await h(requests, context)``; ``stream_stream``:
    an async generator ``h(requests, context)``.
    """

    path: str
    kind: Kind
    request_type: Any
    response_type: Any
    handler: Callable[..., Any]

    @property
    def name(self) -> str:
        """The method without its service."""
        return self.path.rpartition("/")[2]


class Context:
    """One call, as its handler sees it."""

    __slots__ = (
        "_index",
        "_pairs",
        "_stream",
        "deadline",
        "identity",
        "method",
        "peer",
        "scratch",
        "trailers",
    )

    def __init__(
        self, stream: _Stream | None, method: str, pairs: Sequence[Pair], peer: str, identity: Any
    ) -> None:
        self._stream = stream
        self._pairs = pairs
        self._index: dict[bytes, bytes] | None = None
        self.method = method
        self.peer = peer
        self.identity = identity
        """Whatever the listener's ``identify`` made of the peer's certificate, else ``None``."""
        self.deadline: float | None = None
        """Loop time, or ``None``."""
        self.trailers: list[Pair] = []
        self.scratch: dict[str, object] = {}

    @property
    def metadata(self) -> list[tuple[str, str | bytes]]:
        """All request metadata; ``-bin`` values are bytes."""
        return decode_metadata(self._pairs)

    def get(self, name: str) -> str | bytes | None:
        """The first value of one name."""
        raw = self.raw(name.encode())
        if raw is None:
            return None
        return decode_bin(raw) if name.endswith("-bin") else raw.decode("utf-8", "replace")

    def raw(self, name: bytes) -> bytes | None:
        """The first value of one lower-case name, as it came."""
        index = self._index
        if index is None:
            index = self._index = dict(reversed(self._pairs))
        return index.get(name)

    def hide(self, name: bytes) -> None:
        """Remove a name from the metadata, so that nothing forwards it."""
        self._pairs = [pair for pair in self._pairs if pair[0] != name]
        self._index = None

    def remaining(self) -> float | None:
        """Seconds until the deadline, or ``None``."""
        if self.deadline is None:
            return None
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    def set_initial_metadata(self, metadata: Metadata) -> None:
        """Metadata to go out with the response headers."""
        if self._stream is not None:
            self._stream.initial += encode_metadata(metadata)

    def send_initial_metadata(self) -> None:
        """Send the response headers now."""
        if self._stream is not None:
            self._stream.send_headers()

    def set_trailers(self, metadata: Metadata) -> None:
        """Metadata to go out after the last message."""
        self.trailers += encode_metadata(metadata)

    def compress(self, encoding: Literal["gzip", "deflate"] = "gzip") -> None:
        """Compress the messages of this call."""
        if self._stream is not None:
            self._stream.encoding = encoding.encode()


Before = Callable[[Context, Method | None], None]
Enter = Callable[[Context], None]
After = Callable[[Context, GrpcCode, float, int, int], None]
MapError = Callable[[Exception], RpcError | None]
Identify = Callable[[tls.SSLObject], object]


class GrpcServer:
    """Serves methods on any number of listeners.

    ``before`` runs as soon as the request headers are there and may raise ``RpcError``; ``enter``
    runs first in the handler's task; ``after`` gets the outcome
    (code, milliseconds, request bytes, response bytes); ``map_error`` turns a handler's exception
    into a status.
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
        before: Before | None = None,
        enter: Enter | None = None,
        after: After | None = None,
        map_error: MapError | None = None,
    ) -> None:
        self.max_receive_bytes = max_receive_bytes
        self.max_send_bytes = max_send_bytes
        self.max_header_list_bytes = max_header_list_bytes
        self.max_concurrent_streams = max_concurrent_streams
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.min_client_ping_interval = min_client_ping_interval
        self.max_idle = max_idle
        self.before = before
        self.enter = enter
        self.after = after
        self.map_error = map_error
        self.methods: dict[bytes, Method] = {}
        self.services: dict[str, None] = {}
        self.fallback: Method | None = None
        self.closing = False
        self.connections: set[_ServerConnection] = set()
        self._listeners: list[asyncio.Server] = []
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
    ) -> int:
        """Listen; returns the bound port. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        bound = bind_tcp(host, port)
        for sock in bound:
            listener = await loop.create_server(
                lambda: _ServerConnection(self, loop, identify), sock=sock, ssl=ssl, backlog=1024
            )
            self._listeners.append(listener)
        self._start_sweeper(loop)
        return int(bound[0].getsockname()[1])

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix socket. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_unix_server(lambda: _ServerConnection(self, loop, None), path)
        self._listeners.append(listener)
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
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._drained.wait()
        for connection in list(self.connections):
            connection.abort()

    def forget(self, connection: _ServerConnection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._drained.set()

    def unknown(self, path: str) -> RpcError:
        """The status of a method nobody serves, in grpc-go's words."""
        service, _, name = path.strip("/").rpartition("/")
        if service in self.services:
            text = f"unknown method {name} for service {service}"
        else:
            text = f"unknown service {service}"
        return RpcError(GrpcCode.UNIMPLEMENTED, text)

    def _start_sweeper(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.connections):
            connection.tick(now)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep, loop)


class _Stream:
    """One call on a connection."""

    __slots__ = (
        "_buffer",
        "_deadline",
        "_deframer",
        "_messages",
        "_waiter",
        "_writable",
        "connection",
        "context",
        "encoding",
        "expired",
        "finished",
        "headers_sent",
        "id",
        "initial",
        "input_done",
        "input_error",
        "method",
        "received",
        "sent",
        "started",
        "task",
    )

    def __init__(self, connection: _ServerConnection, stream_id: int, method: Method) -> None:
        self.connection = connection
        self.id = stream_id
        self.method = method
        self.context: Context
        self.encoding = b""
        self.initial: list[Pair] = []
        self.headers_sent = False
        self.finished = False
        self.expired = False
        self.input_done = False
        self.input_error: RpcError | None = None
        self.received = 0
        self.sent = 0
        self.started = 0.0
        self.task: asyncio.Task[None] | None = None
        self._deframer: Deframer
        self._messages: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def open(self, context: Context, encoding: bytes) -> None:
        """Take the request headers."""
        connection = self.connection
        self.context = context
        self._deframer = Deframer(connection.server.max_receive_bytes, encoding)
        loop = connection.loop
        self.started = loop.time()
        if (timeout := context.raw(b"grpc-timeout")) is not None:
            seconds = parse_timeout(timeout)
            if seconds is not None:
                context.deadline = self.started + seconds
                self._deadline = loop.call_later(seconds, self._expire)

    # --- input ------------------------------------------------------------------------------

    def data(self, data: bytes, end: bool) -> None:
        """Take request bytes."""
        try:
            self._messages.extend(self._deframer.feed(data))
        except RpcError as error:
            self.input_error = error
            self._messages.clear()
        if self.method.kind.startswith("unary") or self.input_error or self.finished:
            # Unary input is bounded by the message limit: the window may move at once.
            self.connection.session.acknowledge_received_data(len(data), self.id)
        else:
            self.received += len(data)
        if end:
            self.end_input()
        self._wake()

    def end_input(self) -> None:
        """The client sent everything."""
        self.input_done = True
        if not self._deframer.empty and self.input_error is None:
            self.input_error = RpcError(GrpcCode.INTERNAL, "unexpected EOF")
        self._wake()

    def first_message(self) -> bytes:
        """The one message of a unary request. Raises ``RpcError``."""
        if self.input_error is not None:
            raise self.input_error
        if len(self._messages) != 1:
            what = "without a message" if not self._messages else "with more than one message"
            raise RpcError(GrpcCode.INTERNAL, f"unary request {what}")
        return self._messages[0]

    async def requests(self) -> AsyncIterator[Any]:
        """The messages of a streaming request; reading moves the flow-control window."""
        parse = self.method.request_type
        while True:
            if self._messages:
                messages, self._messages = self._messages, []
                self._consume()
                for raw in messages:
                    yield raw if parse is None else _parse(parse, raw)
            elif self.input_error is not None:
                raise self.input_error
            elif self.input_done:
                return
            else:
                self._waiter = self.connection.loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def _consume(self) -> None:
        if self.received:
            amount, self.received = self.received, 0
            self.connection.acknowledge(amount, self.id)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- output -----------------------------------------------------------------------------

    def send_headers(self) -> None:
        """Send the response headers once."""
        if self.headers_sent or self.finished:
            return
        self.headers_sent = True
        headers = _HEADERS_OK
        if self.initial or self.encoding:
            headers = [*_HEADERS_OK, *self.initial]
            if self.encoding:
                headers.append((b"grpc-encoding", self.encoding))
        self.connection.session.send_response(self.id, headers)
        self.connection.flush_soon()

    def send_message(self, response: Any) -> None:
        """Queue one response message."""
        raw = response if isinstance(response, bytes) else response.SerializeToString()
        limit = self.connection.server.max_send_bytes
        if limit is not None and len(raw) > limit:
            raise RpcError(
                GrpcCode.RESOURCE_EXHAUSTED,
                f"trying to send message larger than max ({len(raw)} vs. {limit})",
            )
        self.send_headers()
        self.sent += len(raw)
        data = frame_compressed(raw, self.encoding) if self.encoding else frame(raw)
        self.connection.session.send_data(self.id, data)
        self.connection.flush_soon()

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent."""
        session = self.connection.session
        while not self.finished and session.queued_body_size(self.id) > _SEND_HIGH_WATER:
            self._writable = self.connection.loop.create_future()
            self.connection.wait_writable(self)
            try:
                await self._writable
            finally:
                self._writable = None

    def wake_writer(self) -> None:
        """The window moved."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def finish(self, error: RpcError | None) -> None:
        """Send the status and forget the call."""
        if self.finished:
            return
        self.finished = True
        if self._deadline is not None:
            self._deadline.cancel()
        connection = self.connection
        session = connection.session
        trailers = self._trailers(error)
        try:
            if self.headers_sent:
                session.send_trailers(self.id, trailers)
            else:
                session.send_response(
                    self.id, [*_HEADERS_OK, *self.initial, *trailers], end_stream=True
                )
            if not self.input_done:
                connection.flush()  # a reset drops what is still queued
                session.reset_stream(self.id, h2.NO_ERROR)
        except h2.SessionError:
            pass  # the client reset the stream meanwhile
        self._consume()
        connection.closed_stream(self)
        after = connection.server.after
        if after is not None:
            code = GrpcCode.OK if error is None else error.code
            elapsed = (connection.loop.time() - self.started) * 1000
            after(self.context, code, elapsed, 0, self.sent)

    def _trailers(self, error: RpcError | None) -> list[Pair]:
        extra = self.context.trailers
        if error is None:
            return [*_TRAILERS_OK, *extra] if extra else _TRAILERS_OK
        trailers = [(b"grpc-status", b"%d" % error.code), *extra, *error.trailers]
        if error.message:
            trailers.append((b"grpc-message", encode_message(error.message)))
        if details := error.details_bin:
            trailers += encode_metadata([("x-bin", details)])
            trailers[-1] = (b"grpc-status-details-bin", trailers[-1][1])
        return trailers

    def cancelled_by_client(self) -> None:
        """The client reset the stream or went away."""
        if self.finished:
            return
        self.finished = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self.input_error is None:
            self.input_error = RpcError(GrpcCode.CANCELLED, "context canceled")
        if self.task is not None:
            self.task.cancel()
        self._wake()
        self.wake_writer()
        after = self.connection.server.after
        if after is not None:
            after(self.context, GrpcCode.CANCELLED, 0.0, 0, self.sent)

    def _expire(self) -> None:
        self.expired = True
        task = self.task
        self.finish(RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"))
        if task is not None:
            task.cancel()

    # --- running ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the handler and send its outcome."""
        error: RpcError | None = None
        enter = self.connection.server.enter
        if enter is not None:
            enter(self.context)
        try:
            await self._call()
        except RpcError as failure:
            error = failure
        except asyncio.CancelledError:
            if not self.finished:
                self.finish(RpcError(GrpcCode.CANCELLED, "context canceled"))
            raise
        except Exception as failure:  # noqa: BLE001 - becomes the status of the call
            error = self._mapped(failure)
        self.finish(error)

    async def _call(self) -> None:
        method = self.method
        kind = method.kind
        if kind == "unary_unary":
            raw = self.first_message()
            request = raw if method.request_type is None else _parse(method.request_type, raw)
            self.send_message(await method.handler(request, self.context))
        elif kind == "stream_unary":
            self.send_message(await method.handler(self.requests(), self.context))
        else:
            if kind == "unary_stream":
                raw = self.first_message()
                request = raw if method.request_type is None else _parse(method.request_type, raw)
                responses = method.handler(request, self.context)
            else:
                responses = method.handler(self.requests(), self.context)
            try:
                async for response in responses:
                    self.send_message(response)
                    if self.connection.session.queued_body_size(self.id) > _SEND_HIGH_WATER:
                        self.connection.flush()
                        await self.drain()
            finally:
                await responses.aclose()

    def _mapped(self, failure: Exception) -> RpcError:
        mapper = self.connection.server.map_error
        mapped = mapper(failure) if mapper is not None else None
        if mapped is None:
            _LOG.error("%s failed", self.method.path, exc_info=failure)
            mapped = RpcError(GrpcCode.UNKNOWN, str(failure))
        return mapped


def _parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except Exception as error:
        raise RpcError(GrpcCode.INTERNAL, f"grpc: error unmarshalling request: {error}") from error


class _ServerConnection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(
        self, server: GrpcServer, loop: asyncio.AbstractEventLoop, identify: Identify | None
    ) -> None:
        self.server = server
        self.loop = loop
        self._identify = identify
        self._transport: Any = None
        self.session = h2.server_session(
            max_streams=server.max_concurrent_streams,
            max_header_list=server.max_header_list_bytes,
        )
        self._streams: dict[int, _Stream] = {}
        self._blocked: set[_Stream] = set()
        self._flushing = False
        self._shutting_down = False
        self._peer = ""
        self._identity: object = None
        self._last_activity = loop.time()
        self._last_ping = -1e9
        self._strikes = 0
        self._ping_sent: float | None = None
        self._paused = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self.server.closing:
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
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
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.cancelled_by_client()

    def data_received(self, data: bytes) -> None:
        session = self.session
        try:
            session.receive_data(data)
            events: list[Any] = session.events()
            for event in events:
                kind = type(event)
                if kind is h2.RequestReceived:
                    self._request(event)
                elif kind is h2.DataReceived:
                    stream = self._streams.get(event.stream_id)
                    if stream is not None:
                        stream.data(event.data, event.end_stream)
                        if event.end_stream and stream.task is None:
                            self._start(stream)
                    else:
                        session.acknowledge_received_data(len(event.data), event.stream_id)
                else:
                    self._other(kind, event)
        except h2.SessionError as error:
            _LOG.debug("connection of %s broke the protocol: %s", self._peer, error)
            self.flush()
            self._transport.close()
            return
        self.flush()

    def _other(self, kind: type, event: Any) -> None:
        if kind is h2.StreamReset or kind is h2.StreamClosed:
            if event.error_code or kind is h2.StreamReset:
                stream = self._streams.pop(event.stream_id, None)
                if stream is not None:
                    self._blocked.discard(stream)
                    stream.cancelled_by_client()
        elif kind is h2.TrailersReceived:
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.end_input()
                if stream.task is None:
                    self._start(stream)
        elif kind is h2.WindowUpdated:
            self._wake_writers()
        elif kind is h2.PingReceived:
            self._pinged()
        elif kind is h2.PingAcknowledged:
            self._ping_sent = None

    def _request(self, event: Any) -> None:
        path = content_type = http_method = b""
        encoding = b"identity"
        pairs = event.headers
        for name, value in pairs:
            if name == b":path":
                path = value
            elif name == b"content-type":
                content_type = value
            elif name == b"grpc-encoding":
                encoding = value
            elif name == b":method":
                http_method = value
        stream_id = event.stream_id
        if http_method != b"POST" or not content_type.startswith(b"application/grpc"):
            status = b"405" if http_method != b"POST" else b"415"
            self.session.send_response(stream_id, [(b":status", status)], end_stream=True)
            return
        server = self.server
        method = server.methods.get(path) or server.fallback
        text = path.decode("latin-1")
        context = Context(None, text, pairs, self._peer, self._identity)
        chosen = method or Method(text, "unary_unary", None, None, _never)
        stream = _Stream(self, stream_id, chosen)
        context._stream = stream  # noqa: SLF001 - made for each other
        stream.open(context, encoding)
        self._streams[stream_id] = stream
        self._last_activity = stream.started
        if event.end_stream:
            stream.end_input()
        try:
            if server.before is not None:
                server.before(context, server.methods.get(path))
            if method is None:
                raise server.unknown(text)
            if encoding not in (b"identity", b"gzip", b"deflate"):
                context.trailers.append((b"grpc-accept-encoding", ACCEPTED_ENCODINGS))
                shown = encoding.decode("latin-1")
                raise RpcError(
                    GrpcCode.UNIMPLEMENTED, f'grpc: Decompressor is not installed for "{shown}"'
                )
        except RpcError as error:
            stream.finish(error)
            return
        if event.end_stream or not method.kind.startswith("unary"):
            self._start(stream)

    def _start(self, stream: _Stream) -> None:
        if not stream.finished:
            stream.task = self.loop.create_task(stream.run())

    def closed_stream(self, stream: _Stream) -> None:
        """A call was answered."""
        self._streams.pop(stream.id, None)
        self._blocked.discard(stream)
        self._last_activity = self.loop.time()
        self.flush_soon()
        if self._shutting_down and not self._streams:
            self.loop.call_soon(self._close_when_done)

    # --- sending ----------------------------------------------------------------------------

    def acknowledge(self, amount: int, stream_id: int) -> None:
        """Give receive window back."""
        with contextlib.suppress(h2.SessionError, ValueError):
            self.session.acknowledge_received_data(amount, stream_id)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send at the end of this loop turn, together with what else comes up in it."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the session has queued."""
        self._flushing = False
        if self._paused:
            return
        try:
            data = self.session.data_to_send()
        except h2.SessionError:
            self._transport.abort()
            return
        if data:
            self._transport.write(data)
            if self._blocked:
                self._wake_writers()

    def wait_writable(self, stream: _Stream) -> None:
        """Wake this stream when it may send more."""
        self._blocked.add(stream)

    def _wake_writers(self) -> None:
        blocked, self._blocked = self._blocked, set()
        for stream in blocked:
            stream.wake_writer()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    # --- life -------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Send GOAWAY; close once the open calls are answered."""
        self._shutting_down = True
        with contextlib.suppress(h2.SessionError):
            self.session.send_goaway()
        self.flush()
        if not self._streams:
            self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._streams:
            self.flush()
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _pinged(self) -> None:
        now = self.loop.time()
        early = now - self._last_ping < self.server.min_client_ping_interval
        self._last_ping = now
        if not early or self._streams:
            self._strikes = 0 if not early else self._strikes
            if not early:
                return
        self._strikes += 1
        if self._strikes > _PING_STRIKES:
            with contextlib.suppress(h2.SessionError):
                self.session.send_goaway(h2.ENHANCE_YOUR_CALM, debug_data=b"too_many_pings")
            self.flush()
            self._transport.close()

    def tick(self, now: float) -> None:
        """Keepalive and idle time, once a second."""
        server = self.server
        if self._ping_sent is not None and now - self._ping_sent > server.ping_timeout:
            self._transport.abort()
            return
        quiet = now - self._last_activity
        if not self._streams and server.max_idle is not None and quiet > server.max_idle:
            self.shut_down()
        elif (
            server.ping_interval is not None
            and self._ping_sent is None
            and quiet > server.ping_interval
        ):
            self._ping_sent = now
            with contextlib.suppress(h2.SessionError):
                self.session.ping(b"keepaliv")
            self.flush()


async def _never(request: bytes, context: Context) -> bytes:
    raise too_large(0, 0)
