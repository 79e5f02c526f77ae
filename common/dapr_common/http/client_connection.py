"""One HTTP/1.1 connection of a client: a request out, its response in, at most one at a time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httptools

from dapr_common.http.messages import Header
from dapr_common.http.outgoing import CHUNKED, LAST_CHUNK, chunk, header_lines
from dapr_common.http.response import Body, ClientResponse, ResponseError

if TYPE_CHECKING:
    from dapr_common.http.client import HttpClient

HIGH_WATER = 64 << 10
_MOST_INFORMATIONAL = 16
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class ClientConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, client: HttpClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._transport: Any = None
        self._parser: Any = None
        self._head: asyncio.Future[ClientResponse] | None = None
        self._head_done = True
        self._headers: list[Header] = []
        self._header_size = 0
        self._reason = b""
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._error: ResponseError | None = None
        self._is_head_request = False
        self._keep = True
        self._lost = False
        self._any_byte = False
        self._informational = 0
        self._unparsed = 0
        self.idle_since = 0.0
        self.body_done = True
        self.released = True

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return not self._lost and self._keep and not self._transport.is_closing()

    def hung_up(self) -> bool:
        """Whether the peer has closed, though the loop has not come to see it yet."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return any(event & _GONE for _, event in poll.poll(0))

    # --- requests ---------------------------------------------------------------------------

    async def send(
        self,
        method: str,
        target: bytes,
        headers: list[Header],
        body: Body,
        content_length: int | None,
    ) -> ClientResponse:
        """Write a request and wait for the response head. Raises ``ResponseError``."""
        self.released = self.body_done = self._head_done = self._any_byte = False
        self._informational = self._unparsed = 0
        self._is_head_request = method == "HEAD"
        self._parser = httptools.HttpResponseParser(self)
        head = self._head = self._loop.create_future()
        parts = [
            b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target, self._client.authority),
            header_lines(headers),
        ]
        if body is None or isinstance(body, bytes):
            if body or method in _WITH_BODY:
                parts.append(b"Content-Length: %d\r\n" % len(body or b""))
            parts.append(b"\r\n")
            if body:
                parts.append(body)
            self._transport.write(b"".join(parts))
        else:
            chunked = content_length is None
            parts.append(CHUNKED if chunked else b"Content-Length: %d\r\n" % (content_length or 0))
            parts.append(b"\r\n")
            self._transport.write(b"".join(parts))
            self._sender = self._loop.create_task(self._send_body(body, content_length))
        try:
            response: ClientResponse = await head
        finally:
            self._head = None
        return response

    async def _send_body(self, body: AsyncIterator[bytes], length: int | None) -> None:
        sent = 0
        try:
            async for piece in body:
                if not piece:
                    continue
                sent += len(piece)
                if length is not None and sent > length:
                    raise ResponseError(f"http: ContentLength={length} with longer body")
                self._transport.write(chunk(piece) if length is None else piece)
                if self._writable is not None:
                    await self._writable
            if length is None:
                self._transport.write(LAST_CHUNK)
            elif sent != length:
                raise ResponseError(f"http: ContentLength={length} with Body length {sent}")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the response
            self._keep = False
            head = self._head
            if head is not None and not head.done():
                head.set_exception(error)
            self._transport.abort()
        finally:
            closer = getattr(body, "aclose", None)
            if closer is not None:
                await closer()

    # --- what the parser finds --------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._keep = False  # bytes nobody asked for: the connection cannot be trusted
            self._transport.abort()
            return
        self._any_byte = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("unexpected protocol upgrade")
        except httptools.HttpParserError as error:
            self._fail(f"malformed HTTP response: {error}")
        if not self._head_done:
            # The parser keeps a header until it ends.
            self._unparsed += len(data)
            if self._unparsed - len(data) > self._client.max_header_bytes:
                self._fail("server response headers exceeded the limit")

    def on_message_begin(self) -> None:
        if self.body_done:
            self._keep = False  # a second response to one request
        self._headers = []
        self._header_size = 0
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        if self._header_size > self._client.max_header_bytes:
            self._fail("server response headers exceeded the limit")
        elif not self._head_done:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or self._head_done or self._error is not None:
            return
        status = parser.get_status_code()
        if 100 <= status < 200:
            self._informational += 1
            if status == 101:
                self._fail("unexpected protocol upgrade")
            elif self._informational > _MOST_INFORMATIONAL:
                self._fail("too many informational responses")
            return
        self._head_done = True
        self._keep = self._keep and parser.should_keep_alive()
        length = next((int(v) for n, v in self._headers if n == b"content-length"), None)
        if self._head is not None and not self._head.done():
            reason = self._reason.decode("latin-1")
            self._head.set_result(ClientResponse(status, reason, self._headers, length, self))
        if self._is_head_request or status in (204, 304):
            # llhttp cannot know that no body follows a HEAD.
            self._finish()

    def on_body(self, data: bytes) -> None:
        if self.body_done:
            self._keep = False  # a body where none may be
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._head_done and not self.body_done:
            self._finish()

    def _finish(self) -> None:
        self.body_done = True
        if self._sender is not None and not self._sender.done():
            self._keep = False  # answered before the whole request was sent
        self._wake()

    def _fail(self, message: str) -> None:
        self._keep = False
        error = ResponseError(message, before_response=not self._any_byte)
        if self._error is None:
            self._error = error
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        self._wake()
        self._transport.abort()

    # --- life -------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._client.gone(self)
        if self._sender is not None:
            self._sender.cancel()
        if self._parser is not None and not self.body_done:
            if self._head_done and exc is None and self._error is None and self._until_close():
                self._finish()
                return
            text = "unexpected EOF" if self._any_byte else "EOF"
            error = ResponseError(str(exc) if exc else text, before_response=not self._any_byte)
            self._error = self._error or error
            if self._head is not None and not self._head.done():
                self._head.set_exception(error)
        self._wake()

    def _until_close(self) -> bool:
        return not any(n in (b"content-length", b"transfer-encoding") for n, _ in self._headers)

    def release(self) -> None:
        """The response was read or dropped."""
        if self.released:
            return
        if not self.body_done or self._error is not None:
            self.destroy()
            return
        self.released = True
        self._parser = None
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
        self._client.put_back(self)

    def destroy(self) -> None:
        """Cut the connection and free its slot."""
        self.drop()
        if not self.released:
            self.released = True
            self._client.slot_freed()

    def drop(self) -> None:
        """Cut the connection."""
        self._keep = False
        if self._sender is not None:
            self._sender.cancel()
        self._transport.abort()

    # --- body -------------------------------------------------------------------------------

    def take(self) -> bytes:
        """What arrived of the body since the last call."""
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks = []
        self._size = 0
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def wait(self) -> None:
        """Wait for more of the body. Raises ``ResponseError``."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._chunks:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- flow control -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
