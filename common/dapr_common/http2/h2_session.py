"""The session over ``h2``, pure Python: about ten times dearer, for where ``ngh2`` is not.

``h2`` refuses all work once a GOAWAY passed either way, so GOAWAY frames go around it.
"""

from __future__ import annotations

import struct
import time
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.exceptions

from dapr_common.http2 import session as base
from dapr_common.http2.session import Header, SessionError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEAD = 9
_GOAWAY = 7
_MAX_STREAM_ID = (1 << 31) - 1
_ASSUMED_MAX_STREAMS = 100
_MAX_FRAME = 16_384


class _Stream:
    """What one stream still has to send, and which sides of it are over."""

    __slots__ = ("body", "ending", "head", "local_done", "queued", "remote_done", "trailers")

    def __init__(self) -> None:
        self.head: tuple[list[Header], bool] | None = None
        self.body: deque[memoryview] = deque()
        self.queued = 0
        self.ending = False
        self.trailers: list[Header] | None = None
        self.local_done = False
        self.remote_done = False


class H2Session:
    """Implements ``Session``."""

    def __init__(
        self, settings: dict[int, int], *, client: bool, upgrade: bytes | None = None
    ) -> None:
        config = h2.config.H2Configuration(client_side=client, header_encoding=False)
        connection = h2.connection.H2Connection(config)
        values = {h2.settings.SettingCodes(code): value for code, value in settings.items()}
        connection.local_settings = h2.settings.Settings(client=client, initial_values=values)
        limit = settings[base.MAX_HEADER_LIST_SIZE]
        connection.decoder.max_header_list_size = limit
        if upgrade is None:
            connection.initiate_connection()
        else:
            _upgrade(connection, upgrade)
        connection.increment_flow_control_window(base.CONNECTION_WINDOW - 65_535)
        self._connection = connection
        self._client = client
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[int] = deque()
        self._next_id = 1
        self._events: list[Any] = []
        self._out = bytearray()
        self._frames = _GoAwayFilter(0 if client else len(_PREFACE), self._goaway_received)
        self._refusing = False
        self._last_served = _MAX_STREAM_ID
        self._highest_seen = 0
        if upgrade is not None:
            self._highest_seen = 1
            self._streams[1] = _Stream()
            self._streams[1].remote_done = True
        self._resets = float(base.RESET_BURST)
        self._reset_clock = time.monotonic()
        self._settled = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            h2.events.RequestReceived: self._request,
            h2.events.ResponseReceived: self._response,
            h2.events.TrailersReceived: self._trailers,
            h2.events.DataReceived: self._data,
            h2.events.StreamReset: self._reset,
            h2.events.RemoteSettingsChanged: self._settings,
            h2.events.PingReceived: self._pinged,
            h2.events.PingAckReceived: self._ping_answered,
        }

    # --- in ---------------------------------------------------------------------------------

    def receive_data(self, data: bytes, /) -> None:
        for piece in self._frames.feed(bytes(data)):
            try:
                received = self._connection.receive_data(piece)
            except h2.exceptions.ProtocolError as error:
                raise SessionError(str(error) or type(error).__name__) from error
            for event in received:
                handler = self._handlers.get(type(event))
                if handler is not None:
                    handler(event)

    def events(self) -> list[Any]:
        events, self._events = self._events, []
        return events

    def _request(self, event: Any) -> None:
        stream_id = event.stream_id
        self._highest_seen = max(self._highest_seen, stream_id)
        stream = self._streams[stream_id] = _Stream()
        if stream_id > self._last_served:
            self.reset_stream(stream_id, base.REFUSED_STREAM)
            return
        ended = event.stream_ended is not None
        self._events.append(base.RequestReceived(stream_id, tuple(event.headers), ended))
        if ended:
            self._remote_done(stream_id, stream)

    def _response(self, event: Any) -> None:
        ended = event.stream_ended is not None
        self._events.append(base.ResponseReceived(event.stream_id, tuple(event.headers), ended))
        if ended:
            self._remote_ended(event.stream_id)

    def _trailers(self, event: Any) -> None:
        self._events.append(base.TrailersReceived(event.stream_id, tuple(event.headers)))
        self._remote_ended(event.stream_id)

    def _data(self, event: Any) -> None:
        ended = event.stream_ended is not None
        padding = event.flow_controlled_length - len(event.data)
        if padding:
            self.acknowledge_received_data(padding, event.stream_id)
        self._events.append(base.DataReceived(event.stream_id, bytes(event.data), ended))
        if ended:
            self._remote_ended(event.stream_id)

    def _reset(self, event: Any) -> None:
        if not self._client:
            self._count_reset()
        if event.remote_reset:
            self._events.append(base.StreamReset(event.stream_id, int(event.error_code)))
        self._forget(event.stream_id, int(event.error_code))

    def _settings(self, event: Any) -> None:
        self._settled = True
        changed = {int(code): change.new_value for code, change in event.changed_settings.items()}
        self._events.append(base.SettingsReceived(changed))

    def _pinged(self, event: Any) -> None:
        self._events.append(base.PingReceived(event.ping_data))

    def _ping_answered(self, event: Any) -> None:
        self._events.append(base.PingAcknowledged(event.ping_data))

    def _goaway_received(self, payload: bytes) -> None:
        last, code = struct.unpack_from(">II", payload)
        last &= _MAX_STREAM_ID
        self._refusing = True
        self._events.append(base.GoAwayReceived(last, code, payload[8:]))
        for stream_id in [number for number in self._streams if number > last]:
            self._forget(stream_id, base.REFUSED_STREAM)

    def _count_reset(self) -> None:
        now = time.monotonic()
        earned = (now - self._reset_clock) * base.RESETS_PER_SECOND
        self._resets = min(self._resets + earned, base.RESET_BURST) - 1
        self._reset_clock = now
        if self._resets < 0:
            raise SessionError("the peer resets streams too often")

    def _remote_ended(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._remote_done(stream_id, stream)

    def _remote_done(self, stream_id: int, stream: _Stream) -> None:
        stream.remote_done = True
        if stream.local_done:
            self._forget(stream_id, base.NO_ERROR)

    def _forget(self, stream_id: int, code: int) -> None:
        if self._streams.pop(stream_id, None) is not None:
            self._events.append(base.StreamClosed(stream_id, code, None))

    # --- out --------------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        try:
            self._open_waiting()
            for stream_id in list(self._streams):
                self._pump(stream_id)
        except h2.exceptions.ProtocolError as error:
            raise SessionError(str(error)) from error
        self._out += self._connection.data_to_send()
        data = bytes(self._out)
        self._out.clear()
        return data

    def send_request(self, headers: Iterable[Header], *, end_stream: bool = False) -> int:
        if not self.can_send_request:
            raise SessionError("the connection cannot create another request stream")
        stream_id, self._next_id = self._next_id, self._next_id + 2
        stream = self._streams[stream_id] = _Stream()
        stream.head = (list(headers), end_stream)
        self._waiting.append(stream_id)
        return stream_id

    def send_response(
        self, stream_id: int, headers: Iterable[Header], *, end_stream: bool = False
    ) -> None:
        stream = self._stream(stream_id)
        try:
            self._connection.send_headers(stream_id, list(headers), end_stream=end_stream)
        except h2.exceptions.ProtocolError as error:
            raise SessionError(str(error)) from error
        if end_stream:
            self._local_done(stream_id, stream)

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        stream = self._stream(stream_id)
        stream.body.append(memoryview(data))
        stream.queued += len(data)
        stream.ending = end_stream

    def end_stream(self, stream_id: int) -> None:
        self._stream(stream_id).ending = True

    def send_trailers(self, stream_id: int, headers: Iterable[Header]) -> None:
        stream = self._stream(stream_id)
        stream.trailers = list(headers)
        stream.ending = True

    def reset_stream(self, stream_id: int, error_code: int = base.CANCEL) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.head is not None:
            self._waiting.remove(stream_id)
        else:
            try:
                self._connection.reset_stream(stream_id, error_code)
            except h2.exceptions.ProtocolError as error:
                raise SessionError(str(error)) from error
        self._forget(stream_id, error_code)

    def ping(self, opaque_data: bytes) -> None:
        self._connection.ping(opaque_data)

    def send_shutdown_notice(self) -> None:
        self._send_goaway(_MAX_STREAM_ID, base.NO_ERROR, b"")

    def send_goaway(self, error_code: int = base.NO_ERROR, *, debug_data: bytes = b"") -> None:
        self._last_served = self._highest_seen
        self._send_goaway(self._highest_seen, error_code, debug_data)

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        try:
            self._connection.acknowledge_received_data(amount, stream_id)
        except h2.exceptions.ProtocolError as error:
            raise SessionError(str(error)) from error

    def queued_body_size(self, stream_id: int | None = None) -> int:
        if stream_id is None:
            return sum(stream.queued for stream in self._streams.values())
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.queued

    @property
    def can_send_request(self) -> bool:
        return not self._refusing and self._next_id < _MAX_STREAM_ID

    def _send_goaway(self, last: int, code: int, debug: bytes) -> None:
        payload = struct.pack(">II", last, code) + debug
        self._out += self._connection.data_to_send()
        head = struct.pack(">I", len(payload))[1:] + bytes((_GOAWAY, 0, 0, 0, 0, 0))
        self._out += head + payload

    def _stream(self, stream_id: int) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_done or stream.ending:
            raise SessionError("stream has no open body")
        return stream

    def _open_waiting(self) -> None:
        connection = self._connection
        while self._waiting:
            allowed = connection.remote_settings.max_concurrent_streams
            if not self._settled:
                allowed = _ASSUMED_MAX_STREAMS
            if connection.open_outbound_streams >= allowed:
                return
            stream_id = self._waiting.popleft()
            stream = self._streams[stream_id]
            assert stream.head is not None
            headers, end_stream = stream.head
            stream.head = None
            connection.send_headers(stream_id, headers, end_stream=end_stream)
            if end_stream:
                self._local_done(stream_id, stream)

    def _pump(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.head is not None or stream.local_done:
            return
        connection = self._connection
        while stream.body:
            window = min(connection.local_flow_control_window(stream_id), _MAX_FRAME)
            piece = stream.body[0]
            if window <= 0 and piece:
                return
            if len(piece) > window:
                stream.body[0] = piece[window:]
                piece = piece[:window]
            else:
                stream.body.popleft()
            stream.queued -= len(piece)
            last = stream.ending and not stream.body and stream.trailers is None
            connection.send_data(stream_id, bytes(piece), end_stream=last)
            if last:
                self._local_done(stream_id, stream)
                return
        if stream.ending:
            if stream.trailers is not None:
                connection.send_headers(stream_id, stream.trailers, end_stream=True)
            else:
                connection.end_stream(stream_id)
            self._local_done(stream_id, stream)

    def _local_done(self, stream_id: int, stream: _Stream) -> None:
        stream.local_done = True
        if stream.remote_done:
            self._forget(stream_id, base.NO_ERROR)


def _upgrade(connection: Any, peer_settings: bytes) -> None:
    try:
        connection.initiate_upgrade_connection(urlsafe_b64encode(peer_settings))
    except (h2.exceptions.ProtocolError, hyperframe.exceptions.HyperframeError) as error:
        raise SessionError(str(error)) from error


class _GoAwayFilter:
    """Takes GOAWAY frames out of a byte stream; the rest passes as it came."""

    __slots__ = ("_buffer", "_found", "_left")

    def __init__(self, skip: int, found: Callable[[bytes], None]) -> None:
        self._left = skip
        self._found = found
        self._buffer = b""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The bytes for ``h2``; the callback runs in between, in the order of the frames."""
        data = self._buffer + data
        self._buffer = b""
        start, position = 0, min(self._left, len(data))
        self._left -= position
        while position < len(data):
            if len(data) - position < _FRAME_HEAD:
                break
            length = int.from_bytes(data[position : position + 3], "big")
            if length > _MAX_FRAME:
                raise SessionError("too large frame size")
            end = position + _FRAME_HEAD + length
            if data[position + 3] != _GOAWAY:
                self._left = max(end - len(data), 0)
                position = min(end, len(data))
                continue
            if end > len(data):
                break
            if start < position:
                yield data[start:position]
            self._found(data[position + _FRAME_HEAD : end].ljust(8, b"\0"))
            start = position = end
        self._buffer = data[position:]
        if start < position:
            yield data[start:position]
