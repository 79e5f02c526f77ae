"""One request of an h2c connection and its response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dapr_common.http import outgoing
from dapr_common.http.body import BodyReader
from dapr_common.http.headers import HOP_BY_HOP, safe_value
from dapr_common.http.messages import (
    BodyIncompleteError,
    BodyTooLargeError,
    Header,
    Request,
    Response,
)
from dapr_common.http2 import session as h2
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.http.h2_server import Http2Protocol

TEXT: Header = (b"Content-Type", b"text/plain; charset=utf-8")
_LOG = get_logger("dapr.http.server")
_SEND_HIGH_WATER = 64 << 10
_NOT_OURS = HOP_BY_HOP | {b"date", b"content-length"}


class ServerStream:
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
            response = Response(500, [TEXT], b"internal error")
        try:
            await self._answer(request, response)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - too late for a status: the reset tells the peer
            _LOG.debug("response broke off: %s", error)
            with contextlib.suppress(h2.SessionError):  # the whole session may be at its end
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
        elif empty:
            # As over HTTP/1.1: what is not there cannot be measured.
            length = outgoing.declared_length(response) or length or None
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


def _headers(response: Response, length: int | None) -> list[h2.Header]:
    headers: list[h2.Header] = [(b":status", b"%d" % response.status)]
    for name, value in response.headers:
        key = name.lower()
        if key not in _NOT_OURS or (key == b"date" and response.dated):
            headers.append((key, safe_value(value).strip(b" \t")))
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    if not response.dated:
        headers.append((b"date", outgoing.DATE.value()))
    return headers
