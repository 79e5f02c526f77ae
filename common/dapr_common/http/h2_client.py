"""The h2c side of the HTTP client: requests as streams of few connections, by prior knowledge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from dapr_common.http.headers import HOP_BY_HOP, safe_value
from dapr_common.http.messages import Header
from dapr_common.http.response import SAFE_METHODS, Body, ClientResponse, ResponseError
from dapr_common.http2 import session as h2
from dapr_common.http2.connection import Http2Connection

_STREAMS = 100
_MOST_CONNECTIONS = 8
_ATTEMPTS = 3
_SEND_HIGH_WATER = 64 << 10
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_NOT_OURS = HOP_BY_HOP | {b"host", b"content-length"}

Make = Callable[[], "_Connection"]


class Dial(Protocol):
    """Makes a connection. Raises ``ConnectError``."""

    def __call__(self, make: Make, /) -> Awaitable[_Connection]: ...


class _UnprocessedError(ResponseError):
    """The peer says that it has not looked at the request."""


class Http2Pool:
    """Requests to one target."""

    def __init__(self, dial: Dial, authority: bytes, max_header_bytes: int) -> None:
        self._dial = dial
        self.authority = authority
        self.max_header_bytes = max_header_bytes
        self._connections: list[_Connection] = []
        self._every: set[_Connection] = set()
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
            except _UnprocessedError:
                if not replayable or attempt == _ATTEMPTS:
                    raise
            except ResponseError as error:
                safe = replayable and method in SAFE_METHODS and error.before_response
                if fresh or not safe or attempt == _ATTEMPTS:
                    raise

    async def close(self) -> None:
        """Cut every connection."""
        for connection in list(self._every):
            connection.abort()

    async def _connection(self) -> tuple[_Connection, bool]:
        found = self._usable()
        if found is not None:
            return found, False
        async with self._dialling:
            found = self._usable()
            if found is not None:
                return found, False
            loop = asyncio.get_running_loop()
            made = await self._dial(lambda: _Connection(self, loop))
            self._connections.append(made)
            self._every.add(made)
            return made, True

    def _usable(self) -> _Connection | None:
        for connection in self._connections:
            if len(connection.streams) < _STREAMS:
                return connection
        if len(self._connections) < _MOST_CONNECTIONS:
            return None
        return min(self._connections, key=lambda connection: len(connection.streams))

    def retire(self, connection: _Connection) -> None:
        """A connection takes no more requests."""
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)

    def forget(self, connection: _Connection) -> None:
        """A connection ended."""
        self.retire(connection)
        self._every.discard(connection)


class _Connection(Http2Connection):
    """One connection and its streams."""

    def __init__(self, pool: Http2Pool, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, h2.client_session(max_header_list=pool.max_header_bytes))
        self.pool = pool
        self.streams: dict[int, _Stream] = {}
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
        stream = _Stream(self)
        try:
            stream.id = self.session.send_request(fields, end_stream=not body)
            if isinstance(body, bytes) and body:
                self.session.send_data(stream.id, body, end_stream=True)
        except h2.SessionError as error:
            self._retire()
            raise _UnprocessedError(str(error), before_response=True) from error
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
            stream.fail(_UnprocessedError("http2: server sent GOAWAY", before_response=True))
        if not self.streams:
            self._close()

    def _retire(self) -> None:
        self._retired = True
        self.pool.retire(self)

    def forget(self, stream: _Stream) -> None:
        """A stream is over, read or given up."""
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
            self.blocked.discard(stream)
        if self._retired and not self.streams and not self._transport.is_closing():
            self._close()


class _Stream:
    """One request and its response; what arrives is acknowledged as it is taken."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self._unacknowledged = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self.id = 0
        self.head: asyncio.Future[ClientResponse] = connection.loop.create_future()
        self.answered = False
        self.body_done = False

    # --- request ----------------------------------------------------------------------------

    def send(self, body: AsyncIterator[bytes], length: int | None) -> None:
        """Send a body piece by piece."""
        self._sender = self._connection.loop.create_task(self._send(body, length))

    async def _send(self, body: AsyncIterator[bytes], length: int | None) -> None:
        connection = self._connection
        session = connection.session
        sent = 0
        try:
            async for piece in body:
                if not piece:
                    continue
                sent += len(piece)
                session.send_data(self.id, piece)
                connection.flush_soon()
                while session.queued_body_size(self.id) > _SEND_HIGH_WATER:
                    self._writer = connection.loop.create_future()
                    connection.blocked.add(self)
                    connection.flush_soon()
                    await self._writer
            if length is not None and sent != length:
                raise ResponseError(f"http: ContentLength={length} with Body length {sent}")
            session.end_stream(self.id)
            connection.flush_soon()
        except asyncio.CancelledError:
            raise
        except h2.SessionError:
            pass  # the stream ended meanwhile; its reader knows why
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the response
            self._reset()
            self.fail(error)
        finally:
            closer = getattr(body, "aclose", None)
            if closer is not None:
                await closer()

    def wake_writers(self) -> None:
        """There may be room."""
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    # --- response ---------------------------------------------------------------------------

    def take_head(self, pairs: tuple[Header, ...], *, end: bool) -> None:
        """Take the response's headers."""
        headers = [pair for pair in pairs if pair[0][:1] != b":"]
        index = dict(reversed(pairs))
        length = index.get(b"content-length", b"")
        self.answered = True
        if not self.head.done():
            self.head.set_result(
                ClientResponse(
                    int(index[b":status"]),
                    "",
                    headers,
                    int(length) if length.isdigit() else None,
                    self,
                )
            )
        if end:
            self.finish()

    def take_data(self, data: bytes, *, end: bool) -> None:
        """Take a piece of the body."""
        self._chunks.append(data)
        self._unacknowledged += len(data)
        if end:
            self.finish()
        else:
            self._wake()

    def finish(self) -> None:
        """The response is complete."""
        self.body_done = True
        self._wake()

    def closed(self, code: int, *, by_peer: bool) -> None:
        """The stream is over on both sides."""
        if by_peer and code == h2.REFUSED_STREAM and not self.answered:
            self.fail(_UnprocessedError("http2: stream refused", before_response=True))
        elif not self.body_done:
            text = f"stream error: stream ID {self.id}; error code {code}"
            self.fail(ResponseError(text, before_response=False))

    def fail(self, error: Exception) -> None:
        """Waiting and reading raise from now on."""
        if not self.body_done and self._error is None:
            self._error = error
        if not self.head.done():
            self.head.set_exception(error)
            self.head.exception()  # its waiter may have been cancelled
        self._stop_sending()
        self._wake()

    def take(self) -> bytes:
        """What arrived of the body since the last call; the peer may send as much again."""
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks = []
        amount, self._unacknowledged = self._unacknowledged, 0
        self._connection.acknowledge(amount, self.id)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def wait(self) -> None:
        """Wait for more of the body. Raises ``ResponseError``."""
        if self._error is not None:
            raise self._error
        self._waiter = self._connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._chunks:
            raise self._error

    def release(self) -> None:
        """The response was read or dropped."""
        if self._unacknowledged:
            self.take()
        sending = self._sender is not None and not self._sender.done()
        if sending or not self.body_done:
            self._reset()
        self._stop_sending()
        self._connection.forget(self)

    def _reset(self) -> None:
        with contextlib.suppress(h2.SessionError):
            self._connection.session.reset_stream(self.id, h2.CANCEL)
        self._connection.flush_soon()

    def _stop_sending(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None and sender is not asyncio.current_task():
            sender.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
