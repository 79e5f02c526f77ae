"""One request of the h2c client and its response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from dapr_common.http.messages import Header
from dapr_common.http.response import ClientResponse, ResponseError
from dapr_common.http2 import session as h2

if TYPE_CHECKING:
    from dapr_common.http.h2_client import Http2ClientConnection

_SEND_HIGH_WATER = 64 << 10


class UnprocessedError(ResponseError):
    """The peer says that it has not looked at the request."""


class ClientStream:
    """One request and its response; what arrives is acknowledged as it is taken."""

    def __init__(self, connection: Http2ClientConnection) -> None:
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
            self.fail(UnprocessedError("http2: stream refused", before_response=True))
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
