"""The messages of one partition that this member has, handled in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord

RecordHandler = Callable[[Sequence[ConsumerRecord]], Awaitable[Sequence[ConsumerRecord]]]
"""Handles a batch of one partition; returns those that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a group reads. ``retry`` is the pause in seconds before failed messages are tried again;
    ``None``: they are passed over.
    """

    retry: float | None
    buffered: int
    batch: int = 1
    batch_seconds: float = 0.0


class Partition:
    """The messages of one partition, in order."""

    def __init__(self, handler: RecordHandler, reading: Reading, room: asyncio.Event) -> None:
        self._handler = handler
        self._reading = reading
        self._room = room
        self._waiting: deque[ConsumerRecord] = deque()
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self.done: int | None = None
        """The next offset to read when all before were handled."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def count(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < self._reading.buffered

    def put(self, records: Iterable[ConsumerRecord]) -> None:
        """Queue what was read."""
        self._waiting.extend(records)
        self._came.set()

    async def close(self, seconds: float) -> None:
        """Forget what waits; wait for what runs, and cancel it when it takes too long."""
        self._closing.set()
        self._came.set()
        try:
            _, late = await asyncio.wait((self._task,), timeout=seconds)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if late:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while batch := await self._next():
            failed = await self._handled(batch)
            if not failed:
                self.done = batch[-1].offset + 1
                continue
            if self._reading.retry is not None:
                return  # closing: what failed is read again by whoever gets the partition
            passed = failed[0].offset if len(batch) > 1 else None
            if passed is not None and passed > batch[0].offset:
                self.done = passed

    async def _next(self) -> list[ConsumerRecord]:
        """The next batch; none when closing."""
        reading = self._reading
        while not self._waiting and not self._closing.is_set():
            self._came.clear()
            await self._came.wait()
        if len(self._waiting) < reading.batch and reading.batch_seconds:
            await self._gather()
        if self._closing.is_set():
            return []
        count = min(reading.batch, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(count)]
        self._room.set()
        return batch

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(self._reading.batch_seconds):
                while len(self._waiting) < self._reading.batch and not self._closing.is_set():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return

    async def _handled(self, batch: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        failed = await self._handler(batch)
        retry = self._reading.retry
        while failed and retry is not None and not self._closing.is_set():
            try:
                async with asyncio.timeout(retry):
                    await self._closing.wait()
            except TimeoutError:
                failed = await self._handler(failed)
        return failed
