"""One connection of a gRPC client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.call import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import Pair
from dapr_common.http2 import session as h2
from dapr_common.http2.connection import Http2Connection, tick_interval

if TYPE_CHECKING:
    from dapr_common.grpc.client import GrpcChannel

_UNLIMITED = 1 << 32
_NAMES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)
# What the HTTP/2 library refuses it hides: the status is in the trailers that cannot be read.
_MALFORMED = (
    "the answer breaks the rules of HTTP/2: a header or trailer of it, such as the text of its "
    "status, must not begin or end with a space"
)
_RESET_CODES = {
    h2.REFUSED_STREAM: GrpcCode.UNAVAILABLE,
    h2.CANCEL: GrpcCode.CANCELLED,
    h2.ENHANCE_YOUR_CALM: GrpcCode.RESOURCE_EXHAUSTED,
    0xC: GrpcCode.PERMISSION_DENIED,
}


class ClientConnection(Http2Connection):
    """One connection: its calls, its pings, its end."""

    def __init__(self, channel: GrpcChannel, loop: asyncio.AbstractEventLoop) -> None:
        session = h2.client_session(
            max_header_list=channel.max_header_list_bytes, engine=channel.engine
        )
        super().__init__(loop, session)
        self.channel = channel
        self.streams: dict[int, Call] = {}
        self.accepts = True
        """Whether new calls may start here."""
        self.greeted: asyncio.Future[None] = loop.create_future()
        """Done once the peer has proved to speak HTTP/2."""
        self._max_header_list = _UNLIMITED
        self._idle_since = self.last_activity
        self._goaway = ""
        self._ticker: asyncio.TimerHandle | None = None

    # --- the socket -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.flush()
        channel = self.channel
        if channel.ping_always:
            self._ping(self.loop.time())
        if channel.ping_interval is not None or channel.idle_timeout is not None:
            interval = tick_interval(
                channel.ping_interval, channel.ping_timeout, channel.idle_timeout
            )
            self._ticker = self.loop.call_later(interval, self._tick, interval)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"error reading from server: {exc or 'EOF'}")

    def _end(self, reason: str) -> None:
        self.accepts = False
        self.channel.forget(self)
        if self._ticker is not None:
            self._ticker.cancel()
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(reason))
            self.greeted.exception()  # nobody has to look at it
        calls = list(self.streams.values())
        self.streams.clear()
        error = self._end_error(reason) if calls else None
        for call in calls:
            call.finish(error)

    def _end_error(self, reason: str) -> RpcError:
        if self.channel.closed:
            return RpcError(GrpcCode.CANCELLED, "grpc: the client connection is closing")
        text = f'connection error: desc = "{reason}"'
        if self._goaway:
            text = f"closing transport due to: {text}, received prior goaway: {self._goaway}"
        return RpcError(GrpcCode.UNAVAILABLE, text)

    def _dispatch(self, events: list[Any]) -> None:
        streams = self.streams
        for event in events:
            kind = type(event)
            if kind is h2.DataReceived:
                call = streams.get(event.stream_id)
                if call is None:
                    self.acknowledge(len(event.data), event.stream_id)
                else:
                    call.take_data(event.data, event.end_stream)
            elif kind is h2.ResponseReceived:
                call = streams.get(event.stream_id)
                if call is not None:
                    call.take_headers(event.headers, event.end_stream)
            elif kind is h2.TrailersReceived:
                call = streams.get(event.stream_id)
                if call is not None:
                    call.take_trailers(event.headers)
            else:
                self._other(kind, event)

    def _broken(self, reason: str) -> None:
        self._end(f"error reading from server: {reason}")
        self.abort()

    def _other(self, kind: type, event: Any) -> None:
        if kind is h2.StreamClosed or kind is h2.StreamReset:
            call = self.streams.get(event.stream_id)
            if call is not None:
                if not call.done:
                    # Without the peer's word the session gave up: what was sent may have run.
                    if kind is h2.StreamReset and event.error_code == h2.REFUSED_STREAM:
                        call.refused()
                    elif kind is h2.StreamClosed and event.error_code == h2.PROTOCOL_ERROR:
                        call.finish(RpcError(GrpcCode.INTERNAL, _MALFORMED))
                    else:
                        call.finish(_reset_error(event.error_code))
                self._forget(call)
        elif kind is h2.SettingsReceived:
            self._max_header_list = event.settings.get(
                h2.MAX_HEADER_LIST_SIZE, self._max_header_list
            )
            if not self.greeted.done():
                self.greeted.set_result(None)
        elif kind is h2.GoAwayReceived:
            self._going_away(event)
        elif kind is h2.PingAcknowledged:
            self._heard_answer()
        elif kind is h2.PingReceived:
            self._heard_ping()
        elif kind is h2.ConnectionClosed:
            self._end(f"error reading from server: {_shown(event)}")
            self._transport.close()

    # --- calls ------------------------------------------------------------------------------

    def check_size(self, headers: list[Pair]) -> None:
        """Whether the peer takes these headers. Raises ``RpcError``.

        Too many of them would end the connection, with all calls on it.
        """
        limit = self._max_header_list
        if sum([len(name) + len(value) + 32 for name, value in headers]) > limit:
            text = "header list size to send violates the maximum size"
            raise RpcError(GrpcCode.INTERNAL, f"{text} ({limit} bytes) set by server")

    def start(self, call: Call, frames: bytes | None) -> None:
        """Open a call's stream; ``frames``, when given, is its whole input."""
        try:
            call.start(self, frames)
        except h2.SessionError as error:
            call.finish(None)
            raise self._unusable(error) from error
        self._started(call)

    def restart(self, call: Call) -> None:
        """Open the stream of a call again that another connection refused."""
        try:
            call.restart(self)
        except h2.SessionError as error:
            raise self._unusable(error) from error
        self._started(call)

    def _unusable(self, error: h2.SessionError) -> RpcError:
        self._retire()
        return RpcError(GrpcCode.UNAVAILABLE, f"the connection cannot be used: {error}")

    def _started(self, call: Call) -> None:
        self.streams[call.id] = call
        if not self.session.can_send_request:
            self._retire()
        self.flush_soon()

    def reset(self, call: Call, code: int) -> None:
        """Tell the peer that nobody waits for this call any more."""
        if self.streams.get(call.id) is call:
            with contextlib.suppress(h2.SessionError):
                self.session.reset_stream(call.id, code)
            self._forget(call)
            self.flush_soon()

    def _forget(self, call: Call) -> None:
        del self.streams[call.id]
        if self.blocked:
            self.blocked.discard(call)
        if not self.streams:
            self._idle_since = self.loop.time()
            if not self.accepts:
                self._close()

    # --- life -------------------------------------------------------------------------------

    def _retire(self) -> None:
        """Start no more calls here."""
        self.accepts = False
        self.channel.retire(self)

    def _going_away(self, event: Any) -> None:
        self._retire()
        if event.error_code or event.debug_data:
            debug = event.debug_data.decode("latin-1")
            self._goaway = f'code: {_error_name(event.error_code)}, debug data: "{debug}"'
        for call in [call for call in self.streams.values() if call.id > event.last_stream_id]:
            call.refused()
            self.streams.pop(call.id, None)
        if not self.streams:
            self._close()

    def _quiet_since(self, channel: GrpcChannel) -> float:
        return self._pinged_at if channel.ping_always else self.last_activity

    def _tick(self, interval: float) -> None:
        now = self.loop.time()
        channel = self.channel
        self._ticker = self.loop.call_later(interval, self._tick, interval)
        idle = channel.idle_timeout
        if self._ping_lost(now, channel.ping_timeout):
            self._end("keepalive ping failed to receive ACK within timeout")
            self.abort()
        elif idle is not None and not self.streams and now - self._idle_since > idle:
            self._retire()
            self._close()
        elif (
            channel.ping_interval is not None
            and self._ping_sent is None
            and now - self._quiet_since(channel) > channel.ping_interval
        ):
            self._ping(now)


def _shown(event: Any) -> str:
    return event.debug_data.decode("latin-1") or _error_name(event.error_code)


def _error_name(code: int) -> str:
    return _NAMES[code] if code < len(_NAMES) else f"unknown error code 0x{code:x}"


def _reset_error(code: int) -> RpcError:
    return RpcError(
        _RESET_CODES.get(code, GrpcCode.INTERNAL),
        f"stream terminated by RST_STREAM with error code: {_error_name(code)}",
    )
