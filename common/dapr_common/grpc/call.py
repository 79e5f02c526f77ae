"""One call of a client: requests out, responses in, and the status it ends with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError, UnprocessedError, decode_message
from dapr_common.grpc.stream import SEND_HIGH_WATER, MessageStream
from dapr_common.grpc.wire import Deframer, Pair, decode_bin, decode_metadata, frame
from dapr_common.http2 import session as h2

if TYPE_CHECKING:
    from dapr_common.grpc.client_connection import ClientConnection

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
_SPECIAL = frozenset(
    {b"grpc-status", b"grpc-message", b"grpc-status-details-bin", b"content-type", b":status"}
)
_FRAME_HEAD = 5
_REPLAY_BYTES = 256 << 10
_MAX_RESTARTS = 3

Restart = Callable[["Call"], Awaitable[None]]
Ended = Callable[[GrpcCode, int, int], None]
"""Takes how a call ended: code, bytes sent, bytes received."""


class Call(MessageStream):
    """One call. Iterate it for response messages (raw bytes); one reader at a time.

    Leave a streaming call early with ``cancel`` (or use it as a context manager). A stream that
    the peer refused unprocessed is opened again on another connection, while what was sent on it
    is still at hand.
    """

    __slots__ = (
        "_deadline",
        "_ended",
        "_head",
        "_limit",
        "_lock",
        "_refused",
        "_replay",
        "_replay_size",
        "_restart",
        "_restarts",
        "_trailers",
        "ended_input",
        "head_pairs",
        "headers",
        "one_response",
        "sent",
    )
    connection: ClientConnection

    def __init__(
        self,
        connection: ClientConnection,
        headers: list[Pair],
        limit: int | None,
        timeout: float | None,
        restart: Restart,
        *,
        one_response: bool,
    ) -> None:
        super().__init__(connection, Deframer(limit))
        self.headers = headers
        self.one_response = one_response
        self.ended_input = False
        self.head_pairs: Sequence[Pair] | None = None
        self.sent = 0
        """Bytes of the messages sent."""
        self._ended: Ended | None = None
        self._limit = limit
        self._trailers: Sequence[Pair] = ()
        self._head: asyncio.Future[None] | None = None
        self._replay: list[bytes] | None = []
        self._replay_size = 0
        self._restart = restart
        self._restarts = 0
        self._refused = False
        self._lock: asyncio.Lock | None = None
        self._deadline: asyncio.TimerHandle | None = None
        if timeout is not None:
            self._deadline = connection.loop.call_later(timeout, self._expire)

    # --- for callers ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    async def send(self, message: bytes | Message) -> None:
        """Send one message; waits while the peer is slow. Raises ``RpcError`` once it ended."""
        if self._refused:
            await self._again()
        if self.done or self.ended_input:
            raise self._ended_error()
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        data = frame(raw)
        session = self.connection.session
        try:
            session.send_data(self.id, data)
        except h2.SessionError as error:
            raise self._ended_error() from error
        self.sent += len(raw)
        self._keep(data)
        self.connection.flush_soon()
        if session.queued_body_size(self.id) > SEND_HIGH_WATER:
            await self._drain()

    async def half_close(self) -> None:
        """Say that no more messages follow."""
        if self._refused:
            await self._again()
        if not self.ended_input and not self.done:
            self.ended_input = True
            with contextlib.suppress(h2.SessionError):
                self.connection.session.end_stream(self.id)
            self.connection.flush_soon()

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> bytes:
        message = await self.next_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def initial_metadata(self) -> list[tuple[str, str | bytes]]:
        """Wait for the response headers. Raises ``RpcError`` when the call failed before them."""
        while self.head_pairs is None and not self.done:
            if self._refused:
                await self._again()
                continue
            if self._head is None:
                self._head = self.connection.loop.create_future()
            await asyncio.shield(self._head)
        if self.head_pairs is None and self.failure is not None:
            raise self.failure
        return self.initial

    @property
    def initial(self) -> list[tuple[str, str | bytes]]:
        """The response headers that came so far."""
        return visible(self.head_pairs or ())

    @property
    def trailers(self) -> list[tuple[str, str | bytes]]:
        """The trailers, once the call is done."""
        return visible(self._trailers)

    @property
    def trailer_pairs(self) -> Sequence[Pair]:
        """The trailers as they came."""
        return self._trailers

    @property
    def trailers_only(self) -> bool:
        """Whether the answer was a status without headers of its own."""
        return self.head_pairs is not None and self.head_pairs is self._trailers

    @property
    def ended(self) -> bool:
        """Whether the call ended with OK and no message is left to take."""
        return self.done and self.failure is None and not self._messages

    @property
    def error(self) -> Exception | None:
        """What the call ended with; ``None`` for OK or while it runs."""
        return self.failure

    @property
    def status(self) -> GrpcCode | None:
        """The status the call ended with; ``None`` while it runs."""
        if not self.done:
            return None
        return self.failure.code if isinstance(self.failure, RpcError) else GrpcCode.OK

    def cancel(self) -> None:
        """Give the call up."""
        if not self.done:
            self._messages.clear()
            self._stop(RpcError(GrpcCode.CANCELLED, "context canceled"), h2.CANCEL)

    async def only_message(self) -> bytes:
        """The one message of a unary response. Raises ``RpcError``."""
        try:
            while not self.done:
                await self._wait()
        except BaseException:
            self.cancel()
            raise
        if self.failure is not None:
            raise self.failure
        if not self._messages:
            raise RpcError(
                GrpcCode.INTERNAL,
                "cardinality violation: received no response message from non-server-streaming RPC",
            )
        return self._opened(self._messages.popleft())

    def when_ended(self, ended: Ended) -> None:
        """Have this called once the call is over."""
        self._ended = ended

    # --- for the connection -----------------------------------------------------------------

    def start(self, connection: ClientConnection, frames: bytes | None) -> None:
        """Open the stream; ``frames``, when given, is the whole input. Raises ``SessionError``."""
        self.connection = connection
        session = connection.session
        self.id = session.send_request(self.headers)
        if frames is not None:
            session.send_data(self.id, frames, end_stream=True)
            self.ended_input = True
            self.sent += len(frames) - _FRAME_HEAD
            self._keep(frames)

    def restart(self, connection: ClientConnection) -> None:
        """Open the stream anew, with all that was sent on it. Raises ``SessionError``."""
        self.connection = connection
        session = connection.session
        self.id = session.send_request(self.headers)
        for frames in self._replay or ():
            session.send_data(self.id, frames)
        if self.ended_input:
            session.end_stream(self.id)
        self._refused = False

    def refused(self) -> None:
        """The peer did not process the stream."""
        self._restarts += 1
        if self._replay is None or self._restarts > _MAX_RESTARTS:
            text = "the server refused the stream unprocessed"
            self.finish(UnprocessedError(GrpcCode.UNAVAILABLE, text))
            return
        self._refused = True
        self._wake_all()

    def take_headers(self, pairs: Sequence[Pair], end: bool) -> None:
        """Take response headers."""
        if end:
            self.head_pairs = pairs
            self.take_trailers(pairs)
            return
        index = dict(pairs)
        content_type = index.get(b"content-type", b"")
        if index.get(b":status") != b"200" or not content_type.startswith(b"application/grpc"):
            self._stop(_not_grpc(index), h2.CANCEL)
            return
        self.head_pairs = pairs
        self._replay = None
        if (encoding := index.get(b"grpc-encoding")) is not None:
            self._deframer = Deframer(self._limit, encoding)
        self._wake_head()

    def take_data(self, data: bytes, end: bool) -> None:
        """Take response bytes."""
        try:
            self._take_data(data)
            if self.one_response and len(self._messages) > 1:
                raise RpcError(
                    GrpcCode.INTERNAL,
                    "cardinality violation: expected <EOF> for non server-streaming RPCs, "
                    "but received another message",
                )
            if end:
                text = "server closed the stream without sending trailers"
                raise RpcError(GrpcCode.INTERNAL, text)
        except RpcError as error:
            self._stop(error, h2.CANCEL)

    def take_trailers(self, pairs: Sequence[Pair]) -> None:
        """Take the status."""
        self._trailers = pairs
        index = dict(pairs)
        code = index.get(b"grpc-status")
        error: RpcError | None = None
        if code == b"0":
            if not self._deframer.empty:
                error = RpcError(GrpcCode.INTERNAL, "unexpected EOF")
        elif code is None and b":status" in index:
            error = _not_grpc(index)
        else:
            error = _status_error(code, index, pairs)
        if self.ended_input:
            self.finish(error)
        else:
            self._stop(error, h2.NO_ERROR)

    def finish(self, error: Exception | None) -> None:
        """The call is over."""
        if self.done:
            return
        self.done = True
        self._refused = False
        self._replay = None
        if error is None:
            self.input_done = True
        else:
            self.failure = error
        if self._deadline is not None:
            self._deadline.cancel()
        if self._unacknowledged:
            self._acknowledge_all()
        self._wake_all()
        if self._ended is not None:
            code = GrpcCode.OK if error is None else getattr(error, "code", GrpcCode.UNKNOWN)
            self._ended(code, self.sent, self.received + sum(map(len, self._messages)))

    # --- inside -----------------------------------------------------------------------------

    def _stop(self, error: Exception | None, code: int) -> None:
        self.connection.reset(self, code)
        self.finish(error)

    def _expire(self) -> None:
        if not self.done:
            error = RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._stop(error, h2.CANCEL)

    def _keep(self, data: bytes) -> None:
        if self._replay is not None:
            self._replay_size += len(data)
            if self._replay_size > _REPLAY_BYTES and not self.one_response:
                self._replay = None
            else:
                self._replay.append(data)

    async def _wait(self) -> None:
        if self._refused:
            await self._again()
        else:
            await super()._wait()

    async def _again(self) -> None:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._refused:
                try:
                    await self._restart(self)
                except RpcError as error:
                    self.finish(error)

    def _wake_head(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            head.set_result(None)

    def _wake_all(self) -> None:
        self._wake()
        self._wake_head()
        if self._writers:
            self.wake_writers()

    def _ended_error(self) -> Exception:
        if self.failure is not None:
            return self.failure
        return RpcError(GrpcCode.INTERNAL, "the call has ended")


def visible(pairs: Sequence[Pair]) -> list[tuple[str, str | bytes]]:
    """Response headers or trailers without the protocol's own."""
    return decode_metadata([pair for pair in pairs if pair[0] not in _SPECIAL])


def _status_error(code: bytes | None, index: dict[bytes, bytes], pairs: Sequence[Pair]) -> RpcError:
    number = int(code) if code is not None and code.isdigit() else int(GrpcCode.UNKNOWN)
    details = index.get(b"grpc-status-details-bin", b"")
    return RpcError(
        number,
        decode_message(index.get(b"grpc-message", b"")),
        details_bin=decode_bin(details) if details else b"",
        trailers=[pair for pair in pairs if pair[0] not in _SPECIAL],
    )


def _not_grpc(index: dict[bytes, Any]) -> RpcError:
    raw = index.get(b":status", b"")
    status = int(raw) if raw.isdigit() else 0
    reasons = []
    if status != HTTPStatus.OK:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        reasons.append(f"unexpected HTTP status code received from server: {status} ({phrase})")
    content_type = index.get(b"content-type")
    if content_type is None:
        reasons.append("malformed header: missing HTTP content-type")
    elif not content_type.startswith(b"application/grpc"):
        shown = content_type.decode("latin-1")
        reasons.append(f'transport: received unexpected content-type "{shown}"')
    return RpcError(_HTTP_TO_GRPC.get(status, GrpcCode.UNKNOWN), "; ".join(reasons))
