"""Bounded concurrency for brokers that read ahead: workers shared by lanes, one lane per topic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Workers:
    """At most ``concurrency`` items are handled at once, in the order they came."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = max(concurrency, 1)
        self._waiting: deque[tuple[Lane[Any], Any]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def put(self, lane: Lane[T], item: T) -> None:
        """Queue an item; a worker is started when there is one to spare."""
        self._waiting.append((lane, item))
        self._hire()

    def forget(self, lane: Lane[Any]) -> int:
        """Take a lane's waiting items out; returns how many there were."""
        kept = deque(pair for pair in self._waiting if pair[0] is not lane)
        dropped = len(self._waiting) - len(kept)
        self._waiting = kept
        return dropped

    def _hire(self) -> None:
        if len(self._running) < self._concurrency:
            task = asyncio.get_running_loop().create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting:  # a lane cancelled the worker: the items of other lanes need another
            self._hire()

    async def _work(self) -> None:
        while self._waiting:
            lane, item = self._waiting.popleft()
            await lane.work(item)


class Lane(Generic[T]):
    """One subscription's share: at most ``limit`` items read and not yet handled.

    ``run`` must not raise. ``room`` waits until half of the limit is free, so that reads stay
    large under load.
    """

    def __init__(self, workers: Workers, run: Callable[[T], Awaitable[None]], limit: int) -> None:
        self._workers = workers
        self._run = run
        self._limit = max(limit, 1)
        self._low = self._limit // 2
        self._count = 0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def count(self) -> int:
        """Items waiting or being handled."""
        return self._count

    def put(self, item: T) -> None:
        """Hand an item to the workers."""
        self._count += 1
        self._workers.put(self, item)

    async def room(self) -> int:
        """How many more items may be put; waits until that is worth a read."""
        while self._count > self._low:
            self._changed.clear()
            await self._changed.wait()
        return self._limit - self._count

    async def work(self, item: T) -> None:
        """Handle one item; called by a worker."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._run(item)
        finally:
            self._tasks.discard(task)
            self._count -= 1
            self._changed.set()

    def drop(self) -> None:
        """Forget what waits."""
        self._count -= self._workers.forget(self)
        self._changed.set()

    async def close(self) -> None:
        """Drop what waits, wait for what runs; when cancelled, cancel that too."""
        self.drop()
        try:
            while self._count > 0:
                self._changed.clear()
                await self._changed.wait()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            raise
