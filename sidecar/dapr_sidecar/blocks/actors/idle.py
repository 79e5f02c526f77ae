"""When actors become idle: one timer for all of them, in buckets of a quarter of a second. Pure.

An actor sits in exactly one bucket. When that is due and the actor was used meanwhile, it moves
on, so that using an actor costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

_PER_SECOND = 4
T = TypeVar("T", bound=Hashable)


class IdleWheel(Generic[T]):
    """Buckets by time; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._order: list[int] = []

    def put(self, item: T, due: float) -> None:
        """Have ``item`` looked at when ``due`` has passed."""
        number = int(due * _PER_SECOND) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = [item]
            heappush(self._order, number)
        else:
            bucket.append(item)

    @property
    def next_due(self) -> float | None:
        """When there is something to look at; ``None`` while there is nothing."""
        return self._order[0] / _PER_SECOND if self._order else None

    def take(self, now: float, due_of: Callable[[T], float | None]) -> list[T]:
        """Take out what is due; ``due_of`` says when an item really is, ``None`` forgets it."""
        found: list[T] = []
        later: list[tuple[T, float]] = []
        while self._order and self._order[0] / _PER_SECOND <= now:
            for item in self._buckets.pop(heappop(self._order)):
                due = due_of(item)
                if due is None:
                    continue
                if due > now:
                    later.append((item, due))
                else:
                    found.append(item)
        for item, due in later:
            self.put(item, due)
        return found
