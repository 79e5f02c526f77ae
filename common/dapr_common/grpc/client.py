"""A gRPC client over HTTP/2 sessions: unary and streaming calls, raw bytes or typed.

One channel reaches one address over as many connections as its streams need.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError, decode_message
from dapr_common.grpc.wire import (
    Deframer,
    Pair,
    decode_bin,
    decode_metadata,
    encode_metadata,
    format_timeout,
    frame,
)
from dapr_common.http.client import dial_text
from dapr_common.http2 import session as h2

Metadata = Sequence[tuple[str, str | bytes]]
VerifyPeer = Callable[[tls.SSLObject], None]

_CONNECT_SECONDS = 20.0
_SEND_HIGH_WATER = 256 << 10
_HTTP_TO_GRPC = {
    400: GrpcCode.INTERNAL,
    401: GrpcCode.UNAUTHENTICATED,
    403: GrpcCode.PERMISSION_DENIED,
    404: GrpcCode.UNIMPLEMENTED,
    429: GrpcCode.UNAVAILABLE,
    502: GrpcCode.UNAVAILABLE,
    503: GrpcCode.UNAVAILABLE,
    504: GrpcCode.UNAVAILABLE,
}
_SPECIAL = frozenset({b"grpc-status", b"grpc-message", b"grpc-status-details-bin"})


@dataclass(slots=True)
class UnaryResult:
    """The answer of a unary call; ``message`` is bytes when no type was given."""

    message: Any
    initial_metadata: list[tuple[str, str | bytes]]
    trailers: list[tuple[str, str | bytes]]


class _RetryableError(RpcError):
    """The peer did not process the stream: it may be sent again elsewhere."""

    def __init__(self) -> None:
        super().__init__(GrpcCode.UNAVAILABLE, "the server refused the stream unprocessed")


class GrpcChannel:
    """Calls to one target.

    ``target`` is ``host:port`` or ``unix:/path``. ``verify_peer`` may raise to refuse the peer's
    certificate. Deadlines are the caller's ``timeout`` (seconds).
    """

    def __init__(
        self,
        target: str,
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        verify_peer: VerifyPeer | None = None,
        authority: str | None = None,
        max_receive_bytes: int | None = 4 << 20,
        max_header_list_bytes: int = 64 << 10,
        max_streams_per_connection: int = 100,
        ping_interval: float | None = None,
        ping_timeout: float = 5.0,
        idle_timeout: float | None = None,
        user_agent: str = "dapr-python",
    ) -> None:
        self.target = target
        self.max_receive_bytes = max_receive_bytes
        self.max_header_list_bytes = max_header_list_bytes
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.idle_timeout = idle_timeout
        self._ssl = ssl
        self._server_hostname = server_hostname
        self._verify_peer = verify_peer
        self._max_streams = max_streams_per_connection
        self._connections: list[_ClientConnection] = []
        self._connecting: asyncio.Task[_ClientConnection] | None = None
        self._closed = False
        shown = authority or ("localhost" if target.startswith("unix:") else target)
        self._prefix: list[Pair] = [
            (b":method", b"POST"),
            (b":scheme", b"https" if ssl is not None else b"http"),
        ]
        self._suffix: list[Pair] = [
            (b":authority", shown.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", user_agent.encode()),
            (b"grpc-accept-encoding", b"identity,gzip,deflate"),
        ]

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return bool(self._connections) or self._connecting is not None

    @property
    def active(self) -> int:
        """Open streams on all connections."""
        return sum(len(connection.streams) for connection in self._connections)

    async def unary(
        self,
        method: str,
        request: bytes | Message,
        response_type: type[Message] | None = None,
        *,
        metadata: Metadata = (),
        timeout: float | None = None,
    ) -> UnaryResult:
        """One request, one response. Raises ``RpcError``."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        while True:
            call = await self._start(method, metadata, timeout, frame(raw))
            try:
                message = await call.only_message()
                break
            except _RetryableError:
                continue
        parsed: Any = message
        if response_type is not None:
            try:
                parsed = response_type.FromString(message)
            except Exception as error:
                raise RpcError(
                    GrpcCode.INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
                ) from error
        return UnaryResult(parsed, call.initial, call.trailers)

    async def open(
        self,
        method: str,
        metadata: Metadata = (),
        timeout: float | None = None,
        *,
        frames: bytes | None = None,
    ) -> Call:
        """Start a streaming call. Raises ``RpcError`` when the target cannot be reached.

        ``frames`` is the whole input when it is known already: framed messages, sent together
        with the headers and closing the call's input.
        """
        return await self._start(method, metadata, timeout, frames)

    async def close(self) -> None:
        """Cut every connection."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        for connection in list(self._connections):
            connection.abort()

    def forget(self, connection: _ClientConnection) -> None:
        """A connection ended or takes no more calls."""
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)

    async def _start(
        self, method: str, metadata: Metadata, timeout: float | None, frames: bytes | None
    ) -> Call:
        if self._closed:
            raise RpcError(GrpcCode.CANCELLED, "grpc: the client connection is closing")
        headers = [*self._prefix, (b":path", method.encode()), *self._suffix]
        if timeout is not None:
            headers.append((b"grpc-timeout", format_timeout(timeout)))
        if metadata:
            headers += encode_metadata(metadata)
        connection = self._usable()
        if connection is None:
            connection = await self._connect(timeout)
        call = Call(connection, timeout)
        connection.start(call, headers, frames)
        return call

    def _usable(self) -> _ClientConnection | None:
        for connection in self._connections:
            if connection.accepts and len(connection.streams) < self._max_streams:
                return connection
        return None

    async def _connect(self, timeout: float | None) -> _ClientConnection:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._dial())
            self._connecting.add_done_callback(self._dialled)
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            raise RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded") from None

    def _dialled(self, task: asyncio.Task[_ClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # waiters raise it; with none left nobody else would look at it

    async def _dial(self) -> _ClientConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                if self.target.startswith("unix:"):
                    transport, connection = await loop.create_unix_connection(
                        lambda: _ClientConnection(self, loop), self.target[5:]
                    )
                else:
                    host, _, port = self.target.rpartition(":")
                    host = host.strip("[]")
                    hostname = (self._server_hostname or host) if self._ssl is not None else None
                    transport, connection = await loop.create_connection(
                        lambda: _ClientConnection(self, loop),
                        host,
                        int(port),
                        ssl=self._ssl,
                        server_hostname=hostname,
                    )
                if self._verify_peer is not None:
                    try:
                        self._verify_peer(transport.get_extra_info("ssl_object"))
                    except Exception:
                        transport.abort()
                        raise
        except TimeoutError as error:
            raise _unavailable(f"dial tcp {self.target}: i/o timeout") from error
        except tls.SSLError as error:
            text = f"authentication handshake failed: {error}"
            raise RpcError(
                GrpcCode.UNAVAILABLE, f'connection error: desc = "transport: {text}"'
            ) from error
        except OSError as error:
            raise _unavailable(dial_text(self.target, error)) from error
        self._connections.append(connection)
        return connection


def _unavailable(text: str) -> RpcError:
    return RpcError(
        GrpcCode.UNAVAILABLE,
        f'connection error: desc = "transport: Error while dialing: {text}"',
    )


class Call:
    """One call. Iterate it for response messages (raw bytes)."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_deframer",
        "_error",
        "_head",
        "_messages",
        "_received",
        "_trailers",
        "_waiter",
        "_writable",
        "done",
        "ended_input",
        "head_pairs",
        "id",
    )

    def __init__(self, connection: _ClientConnection, timeout: float | None) -> None:
        self._connection = connection
        self.id = 0
        self.done = False
        self.ended_input = False
        self.head_pairs: Sequence[Pair] | None = None
        self._deframer = Deframer(connection.channel.max_receive_bytes)
        self._messages: list[bytes] = []
        self._received = 0
        self._error: Exception | None = None
        self._trailers: Sequence[Pair] = ()
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._head: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        if timeout is not None:
            self._deadline = connection.loop.call_later(timeout, self._expire)

    # --- for callers ------------------------------------------------------------------------

    async def send(self, message: bytes | Message) -> None:
        """Send one message; waits while the peer is slow. Raises ``RpcError`` once it ended."""
        if self.done:
            raise self._failure()
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        session = self._connection.session
        try:
            session.send_data(self.id, frame(raw))
        except h2.SessionError as error:
            raise self._failure() from error
        self._connection.flush_soon()
        if session.queued_body_size(self.id) > _SEND_HIGH_WATER:
            self._connection.flush()
            await self._drain()

    async def half_close(self) -> None:
        """Say that no more messages follow."""
        if not self.ended_input and not self.done:
            self.ended_input = True
            with contextlib.suppress(h2.SessionError):
                self._connection.session.end_stream(self.id)
            self._connection.flush_soon()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Response messages; raises ``RpcError`` when the call ends with another status."""
        while True:
            if self._messages:
                messages, self._messages = self._messages, []
                self._consume()
                for message in messages:
                    yield message
            elif self.done:
                if self._error is not None:
                    raise self._failure()
                return
            else:
                await self._wait()

    async def take(self) -> list[bytes]:
        """The response messages that came since the last time, at least one; none at the end.

        Raises ``RpcError`` when the call ended with another status than OK.
        """
        while not self._messages:
            if self.done:
                if self._error is not None:
                    raise self._failure()
                return []
            await self._wait()
        messages, self._messages = self._messages, []
        self._consume()
        return messages

    @property
    def ended(self) -> bool:
        """Whether the call ended with OK and no message is left to take."""
        return self.done and self._error is None and not self._messages

    @property
    def trailers_only(self) -> bool:
        """Whether the answer was a status without headers of its own."""
        return self.head_pairs is not None and self.head_pairs is self._trailers

    async def initial_metadata(self) -> list[tuple[str, str | bytes]]:
        """Wait for the response headers. Raises ``RpcError`` when the call failed before them."""
        if self.head_pairs is None and not self.done:
            self._head = self._connection.loop.create_future()
            try:
                await self._head
            finally:
                self._head = None
        if self.head_pairs is None and self._error is not None:
            raise self._failure()
        return self.initial

    @property
    def initial(self) -> list[tuple[str, str | bytes]]:
        """The response headers that came so far."""
        return _visible(self.head_pairs or ())

    @property
    def trailers(self) -> list[tuple[str, str | bytes]]:
        """The trailers, once the call is done."""
        return _visible(self._trailers)

    @property
    def error(self) -> Exception | None:
        """What the call ended with; ``None`` for OK or while it runs."""
        return self._error

    def cancel(self) -> None:
        """Give the call up."""
        if not self.done:
            self.finish(RpcError(GrpcCode.CANCELLED, "context canceled"))
            self._connection.reset(self)

    async def only_message(self) -> bytes:
        """The one message of a unary response. Raises ``RpcError``."""
        try:
            while not self.done:
                await self._wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._error is not None:
            raise self._failure()
        if len(self._messages) != 1:
            raise RpcError(
                GrpcCode.INTERNAL, "cardinality violation: expected one response message"
            )
        return self._messages[0]

    # --- for the connection -----------------------------------------------------------------

    def headers(self, pairs: Sequence[Pair], end: bool) -> None:
        """Take response headers."""
        self.head_pairs = pairs
        status = encoding = b""
        for name, value in pairs:
            if name == b":status":
                status = value
            elif name == b"grpc-encoding":
                encoding = value
        if encoding:
            self._deframer = Deframer(self._connection.channel.max_receive_bytes, encoding)
        if end:
            self.trailer(pairs)
        elif status != b"200":
            code = int(status or b"0")
            self.finish(
                RpcError(
                    _HTTP_TO_GRPC.get(code, GrpcCode.UNKNOWN),
                    f"unexpected HTTP status code received from server: {code}",
                )
            )
            self._connection.reset(self)
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def data(self, data: bytes) -> None:
        """Take response bytes."""
        try:
            self._messages.extend(self._deframer.feed(data))
        except RpcError as error:
            self._connection.acknowledge(len(data), self.id)
            self.finish(error)
            self._connection.reset(self)
            return
        self._received += len(data)
        self._wake()

    def trailer(self, pairs: Sequence[Pair]) -> None:
        """Take the status."""
        self._trailers = pairs
        code: int | None = None
        message = details = b""
        http = b""
        for name, value in pairs:
            if name == b"grpc-status":
                code = int(value) if value.isdigit() else 2
            elif name == b"grpc-message":
                message = value
            elif name == b"grpc-status-details-bin":
                details = value
            elif name == b":status":
                http = value
        if code == 0:
            self.finish(None)
            return
        if code is None:
            status = int(http) if http.isdigit() else 0
            text = f"unexpected HTTP status code received from server: {status}"
            self.finish(RpcError(_HTTP_TO_GRPC.get(status, GrpcCode.UNKNOWN), text))
            return
        extra = [pair for pair in pairs if pair[0] not in _SPECIAL and pair[0][:1] != b":"]
        self.finish(
            RpcError(
                code,
                decode_message(message),
                details_bin=decode_bin(details) if details else b"",
                trailers=[pair for pair in extra if pair[0] != b"content-type"],
            )
        )

    def finish(self, error: Exception | None) -> None:
        """The call is over."""
        if self.done:
            return
        self.done = True
        self._error = error
        if self._deadline is not None:
            self._deadline.cancel()
        self._consume()
        self._wake()
        self.wake_writer()
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def wake_writer(self) -> None:
        """The window moved, or the call ended."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # --- inside -----------------------------------------------------------------------------

    async def _wait(self) -> None:
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _drain(self) -> None:
        session = self._connection.session
        while not self.done and session.queued_body_size(self.id) > _SEND_HIGH_WATER:
            self._writable = self._connection.loop.create_future()
            self._connection.blocked.add(self)
            try:
                await self._writable
            finally:
                self._writable = None

    def _consume(self) -> None:
        if self._received:
            amount, self._received = self._received, 0
            self._connection.acknowledge(amount, self.id)

    def _expire(self) -> None:
        if not self.done:
            self.finish(RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"))
            self._connection.reset(self)

    def _failure(self) -> Exception:
        if self._error is None:
            return RpcError(GrpcCode.INTERNAL, "the call has ended")
        return self._error


def _visible(pairs: Sequence[Pair]) -> list[tuple[str, str | bytes]]:
    return decode_metadata(
        pair for pair in pairs if pair[0] not in _SPECIAL and pair[0] != b"content-type"
    )


class _ClientConnection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, channel: GrpcChannel, loop: asyncio.AbstractEventLoop) -> None:
        self.channel = channel
        self.loop = loop
        self.session = h2.client_session(max_header_list=channel.max_header_list_bytes)
        self.streams: dict[int, Call] = {}
        self.blocked: set[Call] = set()
        self.accepts = True
        self._transport: Any = None
        self._flushing = False
        self._paused = False
        self._last_activity = loop.time()
        self._ping_sent: float | None = None
        self._ticker: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.flush()
        if self.channel.ping_interval is not None or self.channel.idle_timeout is not None:
            self._ticker = self.loop.call_later(1.0, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"error reading from server: {exc or 'EOF'}")

    def _end(self, reason: str) -> None:
        self.accepts = False
        self.channel.forget(self)
        if self._ticker is not None:
            self._ticker.cancel()
        calls = list(self.streams.values())
        self.streams.clear()
        for call in calls:
            call.finish(RpcError(GrpcCode.UNAVAILABLE, f'connection error: desc = "{reason}"'))

    def start(self, call: Call, headers: list[Pair], frames: bytes | None) -> None:
        """Open a stream; a unary request goes along with it."""
        session = self.session
        try:
            call.id = session.send_request(headers)
            if frames is not None:
                session.send_data(call.id, frames, end_stream=True)
                call.ended_input = True
        except h2.SessionError as error:
            self.accepts = False
            raise RpcError(
                GrpcCode.UNAVAILABLE, f"the connection cannot be used: {error}"
            ) from error
        self.streams[call.id] = call
        if not session.can_send_request:
            self.accepts = False
            self.channel.forget(self)
        self.flush_soon()

    def data_received(self, data: bytes) -> None:
        session = self.session
        try:
            session.receive_data(data)
            events: list[Any] = session.events()
            for event in events:
                kind = type(event)
                if kind is h2.DataReceived:
                    call = self.streams.get(event.stream_id)
                    if call is None or call.done:
                        session.acknowledge_received_data(len(event.data), event.stream_id)
                    else:
                        call.data(event.data)
                elif kind is h2.ResponseReceived:
                    call = self.streams.get(event.stream_id)
                    if call is not None:
                        call.headers(event.headers, event.end_stream)
                elif kind is h2.TrailersReceived:
                    call = self.streams.get(event.stream_id)
                    if call is not None:
                        call.trailer(event.headers)
                else:
                    self._other(kind, event)
        except h2.SessionError as error:
            self._end(f"HTTP/2 protocol error: {error}")
            self._transport.abort()
            return
        self.flush()

    def _other(self, kind: type, event: Any) -> None:
        if kind is h2.StreamClosed or kind is h2.StreamReset:
            call = self.streams.pop(event.stream_id, None)
            if call is not None:
                self.blocked.discard(call)
                self._last_activity = self.loop.time()
                if not call.done:
                    call.finish(_reset_error(event.error_code))
            if not self.accepts and not self.streams:
                self._transport.close()
        elif kind is h2.WindowUpdated:
            self._wake_writers()
        elif kind is h2.GoAwayReceived:
            self._going_away(event)
        elif kind is h2.PingAcknowledged:
            self._ping_sent = None

    def _going_away(self, event: Any) -> None:
        self.accepts = False
        self.channel.forget(self)
        for stream_id in [i for i in self.streams if i > event.last_stream_id]:
            self.streams.pop(stream_id).finish(_RetryableError())
        if not self.streams:
            self._transport.close()

    def reset(self, call: Call) -> None:
        """Tell the peer that nobody waits for this call any more."""
        self.streams.pop(call.id, None)
        self.blocked.discard(call)
        with contextlib.suppress(h2.SessionError):
            self.session.reset_stream(call.id, h2.CANCEL)
        self.flush_soon()

    def acknowledge(self, amount: int, stream_id: int) -> None:
        """Give receive window back."""
        with contextlib.suppress(h2.SessionError, ValueError):
            self.session.acknowledge_received_data(amount, stream_id)
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send at the end of this loop turn."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the session has queued."""
        self._flushing = False
        if self._paused or self._transport.is_closing():
            return
        try:
            data = self.session.data_to_send()
        except h2.SessionError:
            self._transport.abort()
            return
        if data:
            self._transport.write(data)
            if self.blocked:
                self._wake_writers()

    def _wake_writers(self) -> None:
        blocked, self.blocked = self.blocked, set()
        for call in blocked:
            call.wake_writer()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def _tick(self) -> None:
        now = self.loop.time()
        channel = self.channel
        self._ticker = self.loop.call_later(1.0, self._tick)
        if self._ping_sent is not None and now - self._ping_sent > channel.ping_timeout:
            self._transport.abort()
        elif (
            not self.streams
            and channel.idle_timeout is not None
            and now - self._last_activity > channel.idle_timeout
        ):
            self.accepts = False
            self._transport.close()
        elif (
            channel.ping_interval is not None
            and self._ping_sent is None
            and now - self._last_activity > channel.ping_interval
        ):
            self._ping_sent = now
            with contextlib.suppress(h2.SessionError):
                self.session.ping(b"keepaliv")
            self.flush()


def _reset_error(code: int) -> Exception:
    if code == h2.REFUSED_STREAM:
        return _RetryableError()
    grpc_code = {h2.CANCEL: GrpcCode.CANCELLED, h2.ENHANCE_YOUR_CALM: GrpcCode.RESOURCE_EXHAUSTED}
    return RpcError(
        grpc_code.get(code, GrpcCode.INTERNAL),
        f"stream terminated by RST_STREAM with error code: {code}",
    )
