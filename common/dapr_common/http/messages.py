"""HTTP requests and responses as the servers, clients and handlers of this runtime see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

Header = tuple[bytes, bytes]


class BodyTooLargeError(Exception):
    """The request body passed the limit; Dapr's text for it is fixed."""

    def __init__(self) -> None:
        super().__init__("stream too large")


class BodyIncompleteError(Exception):
    """The peer went away in the middle of a body."""

    def __init__(self, message: str = "unexpected EOF") -> None:
        super().__init__(message)


class BodyStream(Protocol):
    """A body that is still arriving; reading it applies back-pressure to the peer."""

    async def read(self) -> bytes:
        """The rest of the body. Raises ``BodyTooLargeError`` or ``BodyIncompleteError``."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in chunks as they arrive."""
        ...


class Request:
    """One request. ``headers`` keep order and repetition; names are lower-case bytes.

    ``path`` is the undecoded path without the query, ``query`` the raw query without ``?``.
    ``content_length`` is ``None`` for a chunked body. ``body`` is the whole body when it had
    arrived before the handler ran (the common case), otherwise ``None`` and ``stream`` is set.
    """

    __slots__ = (
        "_index",
        "body",
        "content_length",
        "headers",
        "http_version",
        "method",
        "path",
        "peer",
        "query",
        "scratch",
        "stream",
    )

    def __init__(
        self,
        method: str,
        path: bytes,
        query: bytes,
        headers: list[Header],
        *,
        body: bytes | None = b"",
        stream: BodyStream | None = None,
        content_length: int | None = 0,
        http_version: str = "1.1",
        peer: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.stream = stream
        self.content_length = content_length
        self.http_version = http_version
        self.peer = peer
        self.scratch: dict[str, object] | None = None
        self._index: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header by its lower-case name."""
        index = self._index
        if index is None:
            index = self._index = dict(reversed(self.headers))
        return index.get(name)

    def set_headers(self, headers: list[Header]) -> None:
        """Replace the headers (a middleware changed them)."""
        self.headers = headers
        self._index = None

    async def read(self) -> bytes:
        """The whole body. Raises ``BodyTooLargeError`` or ``BodyIncompleteError``."""
        if self.body is not None:
            return self.body
        assert self.stream is not None
        self.body = await self.stream.read()
        return self.body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they arrive."""
        if self.body is not None:
            if self.body:
                yield self.body
            return
        assert self.stream is not None
        async for chunk in self.stream:
            yield chunk


class Response:
    """One response. ``body`` is bytes, or an async iterator that is sent chunk by chunk.

    ``Date`` and ``Content-Length`` (or chunked framing) are the server's business; every other
    header is sent as given. ``close`` ends the connection after this response; ``dated`` says that
    ``headers`` have a date already.
    """

    __slots__ = ("body", "close", "dated", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        headers: list[Header] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        close: bool = False,
        dated: bool = False,
    ) -> None:
        self.status = status
        self.headers: list[Header] = [] if headers is None else headers
        self.body = body
        self.close = close
        self.dated = dated


Handler = Callable[[Request], Awaitable[Response]]
"""What a server calls for each request; an exception it lets out is a defect (logged, 500)."""
