"""One call on a server: from its request headers to its status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError, encode_message, fitted
from dapr_common.grpc.stream import SEND_HIGH_WATER, MessageStream
from dapr_common.grpc.wire import (
    HEAD_BYTES,
    Deframer,
    Pair,
    encode_bin,
    frame,
    frame_compressed,
    parse_timeout,
)
from dapr_common.http2 import session as h2
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.grpc.server_connection import ServerConnection

_LOG = get_logger("dapr.grpc.server")
_HEADERS_OK: list[Pair] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_TRAILERS_OK: list[Pair] = [(b"grpc-status", b"0"), (b"grpc-message", b"")]


class ServerStream(MessageStream):
    """One call. Iterate it for the (parsed) requests; reading lets the client send more."""

    __slots__ = (
        "_deadline",
        "_started",
        "context",
        "encoding",
        "headers_sent",
        "initial",
        "method",
        "sent",
        "task",
    )
    connection: ServerConnection

    def __init__(
        self,
        connection: ServerConnection,
        stream_id: int,
        method: Method,
        context: Context,
        encoding: bytes,
    ) -> None:
        super().__init__(connection, Deframer(connection.server.max_receive_bytes, encoding))
        self.id = stream_id
        self.method = method
        self.context = context
        self.encoding = b""
        self.initial: list[Pair] = []
        self.headers_sent = False
        self.sent = 0
        self.task: asyncio.Task[None] | None = None
        self._started = connection.loop.time()
        self._deadline: asyncio.TimerHandle | None = None

    def set_timeout(self, value: bytes | None) -> None:
        """Take ``grpc-timeout`` and the server's own limit. Raises ``RpcError``."""
        seconds = limit = self.connection.server.max_call_seconds
        if value is not None:
            given = parse_timeout(value)
            if given is None:
                shown = value.decode("latin-1")
                raise RpcError(GrpcCode.INTERNAL, f'malformed grpc-timeout: "{shown}"')
            seconds = given if limit is None else min(given, limit)
        if seconds is None:
            return
        self.context.deadline = self._started + seconds
        self._deadline = self.connection.loop.call_later(seconds, self._expire)

    # --- input ------------------------------------------------------------------------------

    def take_data(self, data: bytes) -> None:
        """Take request bytes."""
        try:
            self._take_data(data)
            if self.method.one_request and len(self._messages) > 1:
                raise _cardinality("received multiple request messages")
        except RpcError as error:
            self._fail(error)

    def end_input(self) -> None:
        """The client sent everything."""
        self.input_done = True
        if not self._deframer.empty:
            self._fail(RpcError(GrpcCode.INTERNAL, "unexpected EOF"))
        self._wake()

    def _fail(self, error: RpcError) -> None:
        if self.failure is None:
            self.failure = error
        if self.task is None:
            self.finish(error)
        self._wake()

    def __aiter__(self) -> ServerStream:
        return self

    async def __anext__(self) -> Any:
        raw = await self.next_message()
        if raw is None:
            raise StopAsyncIteration
        parse = self.method.request_type
        return raw if parse is None else _parse(parse, raw)

    def _only_request(self) -> Any:
        if self.failure is not None:
            raise self.failure
        if not self._messages:
            raise _cardinality("received no request message")
        raw = self._opened(self._messages.popleft())
        parse = self.method.request_type
        return raw if parse is None else _parse(parse, raw)

    # --- output -----------------------------------------------------------------------------

    def send_headers(self) -> None:
        """Send the response headers once."""
        if self.headers_sent or self.done:
            return
        self.headers_sent = True
        headers = _HEADERS_OK
        if self.initial or self.encoding:
            headers = [*_HEADERS_OK, *self.initial]
            if self.encoding:
                headers.append((b"grpc-encoding", self.encoding))
        self.connection.session.send_response(self.id, headers)
        self.connection.answered()

    async def send(self, response: Any) -> None:
        """Send one response message; waits while the client is slow."""
        self._queue(response)
        if self.connection.session.queued_body_size(self.id) > SEND_HIGH_WATER:
            await self._drain()

    async def send_framed(self, message: bytes) -> None:
        """Send one message with its five bytes in front, as it is; waits while the client is slow.

        Many calls may be given the same bytes. A compressed one is for calls with ``encoding`` set.
        """
        self._put(message, len(message) - HEAD_BYTES)
        if self.connection.session.queued_body_size(self.id) > SEND_HIGH_WATER:
            await self._drain()

    def offer(self, message: bytes) -> bool:
        """``send_framed`` without waiting. Returns whether it was sent: not to a slow client."""
        if self.connection.session.queued_body_size(self.id) > SEND_HIGH_WATER:
            return False
        self._put(message, len(message) - HEAD_BYTES)
        return True

    def _queue(self, response: Any) -> None:
        raw = response if isinstance(response, bytes) else response.SerializeToString()
        size = len(raw)
        limit = self.connection.server.max_send_bytes
        if limit is not None and size > limit:
            raise RpcError(
                GrpcCode.RESOURCE_EXHAUSTED,
                f"trying to send message larger than max ({size} vs. {limit})",
            )
        self._put(frame_compressed(raw, self.encoding) if self.encoding else frame(raw), size)

    def _put(self, data: bytes, size: int) -> None:
        if self.done:
            raise RpcError(GrpcCode.CANCELLED, "the call is over")
        try:
            if not self.headers_sent:
                self.send_headers()
            self.connection.session.send_data(self.id, data)
        except h2.SessionError as error:
            raise RpcError(GrpcCode.CANCELLED, f"the connection is lost: {error}") from error
        self.sent += size
        self.connection.answered()

    def finish(self, error: RpcError | None) -> None:
        """Send the status and forget the call."""
        if self.done:
            return
        session = self.connection.session
        if error is not None:
            self.context.scratch["error"] = error  # whoever looks at the call afterwards
        try:
            if self.headers_sent:
                session.send_trailers(self.id, self._trailers(error))
            else:
                headers = [*_HEADERS_OK, *self.initial, *self._trailers(error)]
                session.send_response(self.id, headers, end_stream=True)
        except h2.SessionError:
            pass  # the client reset the stream meanwhile
        self._end(GrpcCode.OK if error is None else error.code)
        self.connection.finished(self)

    def _trailers(self, error: RpcError | None) -> list[Pair]:
        extra = self.context.trailers
        if error is None:
            return [*_TRAILERS_OK, *extra] if extra else _TRAILERS_OK
        trailers = [
            (b"grpc-status", b"%d" % error.code),
            (b"grpc-message", encode_message(error.message)),
        ]
        if details := error.details_bin:
            trailers.append((b"grpc-status-details-bin", encode_bin(details)))
        return fitted([*trailers, *extra, *error.trailers], self.connection.error_bytes)

    def abandon(self) -> None:
        """The client reset the stream or went away."""
        if self.done:
            return
        if self.failure is None:
            self.failure = RpcError(GrpcCode.CANCELLED, "context canceled")
        task = self.task
        self._end(GrpcCode.CANCELLED)
        if task is not None:
            task.cancel()

    def _expire(self) -> None:
        task = self.task
        if self.failure is None:
            self.failure = RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        self.finish(RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"))
        if task is not None:
            task.cancel()

    def _end(self, code: GrpcCode) -> None:
        self.done = True
        self.context.detach()
        if self._deadline is not None:
            self._deadline.cancel()
        if self._messages or self._unacknowledged:
            self._messages.clear()
            self._acknowledge_all()
        if self._waiter is not None:
            self._wake()
        if self._writers:
            self.wake_writers()
        connection = self.connection
        after = connection.server.after
        if after is not None:
            elapsed = (connection.loop.time() - self._started) * 1000
            after(self.context, code, elapsed, self.received, self.sent)

    # --- running ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the handler and send its outcome."""
        error: RpcError | None = None
        server = self.connection.server
        try:
            if server.enter is not None:
                server.enter(self.context)
            method = self.method
            if method.kind == "unary_unary":
                self._queue(await method.handler(self._only_request(), self.context))
            else:
                await self._stream(method)
        except RpcError as failure:
            error = failure
        except asyncio.CancelledError:
            self.finish(RpcError(GrpcCode.CANCELLED, "context canceled"))
            raise
        except Exception as failure:  # noqa: BLE001 - becomes the status of the call
            error = self.mapped(failure)
        finally:
            if self.task is not None:
                server.tasks.discard(self.task)
                self.task = None
        self.finish(error)

    async def _stream(self, method: Method) -> None:
        request = self._only_request() if method.one_request else self
        outcome = method.handler(request, self.context)
        if method.kind == "stream_unary":
            self._queue(await outcome)
        elif hasattr(outcome, "__anext__"):  # a tenth of the time of asking its class
            await self._send_all(outcome)
        else:
            await outcome

    async def _send_all(self, responses: AsyncIterator[Any]) -> None:
        try:
            async for response in responses:
                await self.send(response)
        finally:
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()

    def mapped(self, failure: Exception) -> RpcError:
        """The status of a handler's exception."""
        mapper = self.connection.server.map_error
        mapped = mapper(failure) if mapper is not None else None
        if mapped is None:
            _LOG.error("%s failed", self.method.path, exc_info=failure)
            mapped = RpcError(GrpcCode.UNKNOWN, str(failure))
        return mapped


def _cardinality(what: str) -> RpcError:
    text = f"cardinality violation: {what} for non-client-streaming RPC"
    return RpcError(GrpcCode.INTERNAL, text)


def _parse(kind: Any, raw: bytes) -> Any:
    try:
        return kind.FromString(raw)
    except Exception as error:
        raise RpcError(GrpcCode.INTERNAL, f"grpc: error unmarshalling request: {error}") from error
