"""One heap of everything that is due some day, and what runs it: no task and no timer per item."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from itertools import count
from logging import Logger
from typing import Generic, Protocol, TypeVar

from dapr_common.errors import DaprError
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import ActorRef, ActorRouter, Callback

_LOG = get_logger("dapr.runtime.actors")
_LONGEST_SLEEP_SECONDS = 60.0
"""A wall clock may be set; looking at it now and then keeps what is due from coming late."""
_FEW = 64

Clock = Callable[[], float]


class Due(Protocol):
    """What can be due."""

    ref: ActorRef
    ticket: int
    """The heap's: which entry is this item's, 0 for none."""


D = TypeVar("D", bound=Due)


def steady_clock() -> Clock:
    """Seconds since the epoch that do not jump when the machine's clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


class DueHeap(Generic[D]):
    """Items by due time, each at most once."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, D]] = []
        self._tickets = count(1)
        self._stale = 0

    def put(self, item: D, when: float) -> None:
        """Add an item, or move it; one that is due at infinity never is."""
        self.remove(item)
        if when < math.inf:
            item.ticket = next(self._tickets)
            heapq.heappush(self._entries, (when, item.ticket, item))

    def remove(self, item: D) -> None:
        """Take an item out, if it is in; its entry goes when its time comes, or earlier."""
        if item.ticket:
            item.ticket = 0
            self._stale += 1
            if self._stale > _FEW and self._stale * 2 > len(self._entries):
                self._entries = [entry for entry in self._entries if entry[1] == entry[2].ticket]
                heapq.heapify(self._entries)
                self._stale = 0

    def next_due(self) -> float:
        """When the next item is due."""
        entries = self._entries
        while entries and entries[0][1] != entries[0][2].ticket:
            heapq.heappop(entries)
            self._stale -= 1
        return entries[0][0] if entries else math.inf

    def pop(self, now: float) -> D | None:
        """The next item, if it is due; it is in the heap no more."""
        if self.next_due() > now:
            return None
        item = heapq.heappop(self._entries)[2]
        item.ticket = 0
        return item


async def deliver(router: ActorRouter, callback: Callback, log: Logger) -> tuple[bool, bool]:
    """Have the app run what is due. Returns whether it went well, and whether it wants no more.

    A failure is logged; what follows from it is the caller's business.
    """
    what = (callback.kind, callback.name, callback.ref)
    try:
        return True, await router.fire(callback)
    except DaprError as error:
        log.error("%s %s of actor %s failed: %s", *what, error)
    except Exception:
        log.exception("%s %s of actor %s failed", *what)
    return False, False


class DueRunner(Generic[D]):
    """Runs ``fire`` for items as they come due: at most ``limit`` at a time, one per actor."""

    def __init__(self, fire: Callable[[D], Awaitable[None]], clock: Clock, limit: int) -> None:
        self.clock = clock
        self._fire = fire
        self._limit = limit
        self._heap: DueHeap[D] = DueHeap()
        self._running: dict[asyncio.Task[None], D] = {}
        self._waiting: dict[ActorRef, deque[D]] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = math.inf
        self._closed = False

    def put(self, item: D, when: float) -> None:
        """Fire an item at a moment of the clock."""
        if not self._closed:
            self._heap.put(item, when)
            if when < self._alarm_due:
                self._wake_at(when)

    def remove(self, item: D) -> None:
        """Do not fire this item; if it runs already, it goes on."""
        self._heap.remove(item)
        queue = self._waiting.get(item.ref)
        if queue is not None and item in queue:
            queue.remove(item)

    async def quiesce(self, concerns: Callable[[D], bool], seconds: float) -> None:
        """Wait for items that run; after ``seconds`` they are cancelled."""
        tasks = [task for task, item in self._running.items() if concerns(item)]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        await _cancelled(late)

    async def close(self, seconds: float) -> None:
        """Fire nothing more; what runs has ``seconds`` to end."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._waiting.clear()
        await self.quiesce(lambda _: True, seconds)

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = min(max(when - self.clock(), 0.0), _LONGEST_SLEEP_SECONDS)
        self._alarm_due = when
        self._alarm = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        """Start what is due, as far as there is room, and sleep until the next."""
        self._alarm, self._alarm_due = None, math.inf
        now = self.clock()
        while len(self._running) < self._limit:
            item = self._heap.pop(now)
            if item is None:
                break
            self._start_or_wait(item)
        else:
            return  # the next one that ends looks again
        if self._closed:
            return
        if (following := self._heap.next_due()) < math.inf:
            self._wake_at(following)

    def _start_or_wait(self, item: D) -> None:
        queue = self._waiting.get(item.ref)
        if queue is None:
            self._waiting[item.ref] = deque()
            self._start(item)
        else:
            queue.append(item)

    def _start(self, item: D) -> None:
        # Not in the context of the request that set the alarm: its trace is over.
        task = asyncio.create_task(self._run(item), name=f"actor due {item.ref}", context=Context())
        self._running[task] = item
        task.add_done_callback(self._ended)

    async def _run(self, item: D) -> None:
        try:
            await self._fire(item)
        except Exception:  # noqa: BLE001 - a defect must not end the others
            _LOG.exception("a reminder or timer of %s could not be run", item.ref)

    def _ended(self, task: asyncio.Task[None]) -> None:
        ref = self._running.pop(task).ref
        if self._closed:
            return
        queue = self._waiting[ref]
        if queue:
            self._start(queue.popleft())
        else:
            del self._waiting[ref]
        if self._alarm is None and self._heap.next_due() < math.inf:
            self._wake_at(self._heap.next_due())


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    late = set(tasks)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
