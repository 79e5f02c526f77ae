"""One HTTP/1.1 connection of a server: requests are answered in order, one at a time.

A request whose bytes arrived in one piece costs one task and one ``write``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any

from dapr_common.http import outgoing
from dapr_common.http.body import BodyReader
from dapr_common.http.incoming import Incoming
from dapr_common.http.messages import BodyIncompleteError, Header, Request, Response
from dapr_common.observe.logs import get_logger

if TYPE_CHECKING:
    from dapr_common.http.server import HttpServer

_LOG = get_logger("dapr.http.server")
_DRAIN_LIMIT = 256 << 10
_LINGER_SECONDS = 0.5
_HALF_CLOSED_SECONDS = 1.0
_TEXT: Header = (b"Content-Type", b"text/plain; charset=utf-8")


class HttpProtocol(Incoming):
    """One connection."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop)
        self._writable: asyncio.Future[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None

    # --- life -------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        server = self._server
        limit = server.max_connections
        if server.closing or (limit is not None and len(server.connections) >= limit):
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        if self._reader is not None:
            self._reader.connection_lost()
        for _, reader, _ in self._queue:
            if reader is not None:
                reader.connection_lost()
        self._queue.clear()
        if self._lingering is not None:
            self._lingering.cancel()
        if self._task is not None:
            self._task.cancel()
        self._parser = None

    def eof_received(self) -> bool:
        self._ended = True
        if self._reader is not None:
            self._reader.connection_lost()
        if self._task is None or not self._transport.can_write_eof():
            return False
        # Gone, or half closed and waiting for its answer: nobody can tell. Handlers that take
        # longer than this are cancelled, as for any client that goes away.
        self._lingering = self._loop.call_later(_HALF_CLOSED_SECONDS, self._transport.abort)
        return True

    @property
    def running(self) -> Collection[asyncio.Task[None]]:
        """The request that is being handled."""
        return () if self._task is None else (self._task,)

    def shut_down_when_idle(self) -> None:
        """Close now when nothing is under way; otherwise after the running response."""
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def expire(self, now: float) -> None:
        """Close when the peer takes too long to send a request."""
        server = self._server
        if self._task is not None:
            reader = self._reader
            if reader is not None and reader.stalled_since(now) > server.idle_timeout:
                reader.fail(BodyIncompleteError("timeout reading the request body"))
            return
        limit = server.header_timeout if self._in_headers else server.idle_timeout
        if now - self._since > limit:
            self._transport.close()

    def _switch(self, data: bytes) -> None:
        from dapr_common.http.h2_server import Http2Protocol

        upgrade, self._upgrade = self._upgrade, None
        self._server.connections.discard(self)
        self._parser = None
        Http2Protocol.take_over(self._server, self._loop, self._transport, upgrade, data)

    # --- serving ----------------------------------------------------------------------------

    def _next(self) -> None:
        if self._queue:
            request, reader, keep = self._queue.popleft()
            if reader is not None:
                request.body = reader.take_whole()
                if request.body is None:
                    request.stream = reader
                else:
                    reader = None
            # Named, because making up a name costs more than the rest of a task.
            self._task = asyncio.Task(
                self._serve(request, reader, keep), loop=self._loop, name="http-request"
            )
        elif self._error is not None:
            error, self._error = self._error, None
            assert isinstance(error.body, bytes)
            self._transport.write(outgoing.head(error, "1.1", b"", close=True, body=error.body))
            self._hang_up(unread=True)

    async def _serve(self, request: Request, reader: BodyReader | None, keep: bool) -> None:
        server = self._server
        try:
            response = await server.handler(request)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect must not end the server
            _LOG.exception("%s %s failed", request.method, request.path.decode("latin-1"))
            response = Response(500, [_TEXT], b"internal error", close=True)
        close = not keep or response.close or server.closing
        unread = False
        body = response.body
        if isinstance(body, bytes):
            if reader is not None and (not reader.done or reader.failed):
                unread = _leave_body(request, reader)
                close = close or unread
            self._transport.write(
                outgoing.whole(response, body, request.method, request.http_version, close=close)
            )
        else:
            close = await self._stream(request, response, body, reader, close)
            unread = reader is not None and not reader.done
        if close or server.closing or (self._ended and not self._queue):
            self._task = None
            self._hang_up(unread=unread)
            return
        if self._writable is not None:
            await self._drain()
        self._task = None
        self._since = self._loop.time()
        if self._queue or self._error is not None:
            self._next()
        if self._reading_paused:
            self._may_read_on()

    async def _stream(
        self,
        request: Request,
        response: Response,
        body: AsyncIterator[bytes],
        reader: BodyReader | None,
        close: bool,
    ) -> bool:
        """Send a response in pieces; returns whether the connection must end."""
        if reader is not None and not reader.done:
            reader.patient = True  # both directions flow: silence in one is no fault
            close = True
        empty = response.status in outgoing.NO_BODY or request.method == "HEAD"
        length = outgoing.declared_length(response)
        chunked = length is None and not empty and request.http_version == "1.1"
        close = close or (length is None and not empty and not chunked)
        framing = outgoing.CHUNKED if chunked else b""
        try:
            self._transport.write(
                outgoing.head(response, request.http_version, framing, close=close)
            )
            if not empty:
                await self._send_pieces(body, length, chunked)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - too late for a status: the cut tells the peer
            _LOG.debug("response body broke off: %s", error)
            self._transport.abort()
            return True
        finally:
            closer = getattr(body, "aclose", None)
            if closer is not None:
                await closer()
        return close

    async def _send_pieces(
        self, body: AsyncIterator[bytes], length: int | None, chunked: bool
    ) -> None:
        write = self._transport.write
        sent = 0
        async for piece in body:
            if not piece:
                continue
            sent += len(piece)
            if length is not None and sent > length:
                raise BodyIncompleteError("more bytes than Content-Length says")
            write(outgoing.chunk(piece) if chunked else piece)
            if self._writable is not None:
                await self._drain()
        if chunked:
            write(outgoing.LAST_CHUNK)
        elif length is not None and sent != length:
            raise BodyIncompleteError("fewer bytes than Content-Length says")

    def _continue(self) -> None:
        self._transport.write(outgoing.CONTINUE)

    def _hang_up(self, *, unread: bool) -> None:
        """Close; a peer that is still sending gets time to read the answer before a reset."""
        transport = self._transport
        if not unread or self._ended or not transport.can_write_eof():
            transport.close()
            return
        self._parser = None
        if transport.is_closing():
            return
        transport.write_eof()
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        self._lingering = self._loop.call_later(_LINGER_SECONDS, transport.close)

    # --- flow control -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _drain(self) -> None:
        """Wait until the peer has taken what was written; one that takes nothing is cut."""
        transport = self._transport
        left = transport.get_write_buffer_size()
        while self._writable is not None:
            done, _ = await asyncio.wait([self._writable], timeout=self._server.idle_timeout)
            before, left = left, transport.get_write_buffer_size()
            if not done and left >= before:
                transport.abort()
                return


def _leave_body(request: Request, reader: BodyReader) -> bool:
    """Deal with a body nobody read; returns whether the connection must end."""
    if reader.failed or request.content_length is None:
        return True
    if request.content_length - reader.received > _DRAIN_LIMIT or reader.on_first_read:
        return True
    reader.discard()
    return False
