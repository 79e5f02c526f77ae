"""How long to wait before a target is tried again."""

from __future__ import annotations

import random


class Backoff:
    """Grows with every failure in a row, up to a limit; spread, so that peers do not march."""

    __slots__ = ("_factor", "_first", "_jitter", "_limit", "_next")

    def __init__(
        self,
        first: float = 0.1,
        limit: float = 5.0,
        *,
        factor: float = 1.6,
        jitter: float = 0.2,
    ) -> None:
        self._first = first
        self._limit = limit
        self._factor = factor
        self._jitter = jitter
        self._next = first

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        seconds = self._next
        self._next = min(seconds * self._factor, self._limit)
        return seconds * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311

    def reset(self) -> None:
        """The target was reached."""
        self._next = self._first
