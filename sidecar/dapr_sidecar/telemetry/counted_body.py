"""A response body that is counted once it has gone out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable


class CountedBody:
    """Passes a streamed body on; ``done`` gets its size in bytes, once, when it is over."""

    __slots__ = ("_body", "_done", "_pieces", "_size")

    def __init__(self, body: AsyncIterator[bytes], done: Callable[[int], None]) -> None:
        self._body = body
        self._pieces = aiter(body)
        self._done: Callable[[int], None] | None = done
        self._size = 0

    def __aiter__(self) -> CountedBody:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._pieces)
        self._size += len(piece)
        return piece

    async def aclose(self) -> None:
        """The server is done with it, to the end or not."""
        done, self._done = self._done, None
        if done is not None:
            done(self._size)
        closer = getattr(self._body, "aclose", None)
        if closer is not None:
            await closer()
