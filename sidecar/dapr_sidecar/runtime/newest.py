"""Work on a value that keeps changing: one at a time, and only the newest is worth waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.runtime.hotreload")
T = TypeVar("T")


class Newest(Generic[T]):
    """``put`` returns at once; ``job`` runs with each value that no later one has replaced."""

    def __init__(self, what: str, job: Callable[[T], Awaitable[None]]) -> None:
        self._what = what
        self._job = job
        self._waiting: list[T] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, value: T) -> None:
        """Have this worked on next."""
        self._waiting = [value]
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._what)

    async def close(self) -> None:
        """Leave what waits, and give up what is under way."""
        self._waiting = []
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                value = self._waiting.pop()
                try:
                    await self._job(value)
                except Exception:  # noqa: BLE001 - the sidecar outlives a change that fails
                    _LOG.exception("%s were not changed completely", self._what)
        finally:
            self._task = None
