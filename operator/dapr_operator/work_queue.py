"""Things to look at: each once however often it is named, again with a pause when it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from dapr_common.grpc.backoff import Backoff
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.operator")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 60.0

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """``handle`` runs for several keys at a time, never twice at a time for one."""

    def __init__(self, handle: Callable[[K], Awaitable[None]], at_a_time: int) -> None:
        self._handle = handle
        self._slots = asyncio.Semaphore(at_a_time)
        self._waiting: dict[K, None] = {}
        self._busy: set[K] = set()
        self._backoffs: dict[K, Backoff] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()

    def add(self, key: K) -> None:
        """Look at it as soon as possible."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._waiting[key] = None
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    for key in [key for key in self._waiting if key not in self._busy]:
                        await self._slots.acquire()
                        del self._waiting[key]
                        self._busy.add(key)
                        tasks.create_task(self._work(key))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, key: K) -> None:
        try:
            await self._handle(key)
        except Exception as error:  # noqa: BLE001 - tried again
            pause = self._backoffs.setdefault(key, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)).next()
            _LOG.warning("%s is tried again in %.1f s: %s", key, pause, error)
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(pause, self.add, key)
        else:
            self._backoffs.pop(key, None)
        finally:
            self._busy.discard(key)
            self._slots.release()
            self._changed.set()
