"""A bound for the bodies of many requests together: whoever reaches a port may send some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from dapr_common.http.messages import Request

Read = Callable[[Request], Awaitable[bytes]]


class TooMuchHeldError(Exception):
    """All bodies together are more than may be held."""


class HeldBodies:
    """What all bodies that are being read or answered may take together, in bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def counted(self) -> Iterator[Read]:
        """How to read a request's body, which counts until the end of the block.

        Reading raises ``TooMuchHeldError`` and what ``Request.chunks`` raises.
        """
        parts: list[bytes] = []

        async def read(request: Request) -> bytes:
            async for part in request.chunks():
                parts.append(part)
                self._held += len(part)
                if self._held > self._most:
                    raise TooMuchHeldError
            return b"".join(parts)

        try:
            yield read
        finally:
            self._held -= sum(map(len, parts))
