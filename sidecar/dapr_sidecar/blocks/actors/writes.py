"""Writes under way, by actor type: what must end before an actor type may move."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class WritesUnderWay:
    """Counts writes that began while this sidecar owned an actor of the type."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._ended = asyncio.Event()

    @contextmanager
    def one(self, actor_type: str) -> Iterator[None]:
        """Around one write."""
        self._open[actor_type] += 1
        try:
            yield
        finally:
            self._open[actor_type] -= 1
            if not self._open[actor_type]:
                del self._open[actor_type]
                self._ended.set()

    async def finished(self, types: frozenset[str]) -> None:
        """Return once no write of these types is under way."""
        while not types.isdisjoint(self._open):
            self._ended.clear()
            await self._ended.wait()
