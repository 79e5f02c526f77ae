"""A queue of things to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from dapr_operator.work_queue import WorkQueue


@asynccontextmanager
async def working(
    handle: Callable[[str], Awaitable[None]], at_a_time: int = 2
) -> AsyncIterator[WorkQueue[str]]:
    queue: WorkQueue[str] = WorkQueue(handle, at_a_time)
    task = asyncio.ensure_future(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_what_is_named_often_is_done_once_more() -> None:
    seen: list[str] = []
    go, began, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(key: str) -> None:
        seen.append(key)
        began.set()
        await go.wait()
        if len(seen) == 2:
            done.set()

    async with working(handle) as queue:
        queue.add("a")
        await began.wait()
        for _ in range(5):
            queue.add("a")  # never twice at a time, but again: it may have looked too early
        await asyncio.sleep(0)
        assert seen == ["a"]
        go.set()
        await done.wait()
        assert seen == ["a", "a"]


async def test_a_slow_one_keeps_nobody_waiting_but_the_limit() -> None:
    seen: list[str] = []
    stuck, done = asyncio.Event(), asyncio.Event()

    async def handle(key: str) -> None:
        if key == "slow":
            await stuck.wait()
        seen.append(key)
        if len(seen) == 3:
            done.set()

    async with working(handle) as queue:
        for key in ("slow", "a", "b", "c"):
            queue.add(key)
        await done.wait()
        assert seen == ["a", "b", "c"]
        stuck.set()


async def test_what_fails_is_done_again() -> None:
    tries: list[str] = []
    done = asyncio.Event()

    async def handle(key: str) -> None:
        tries.append(key)
        if len(tries) < 2:
            raise RuntimeError("not yet")
        done.set()

    async with working(handle) as queue:
        queue.add("a")
        await done.wait()
    assert tries == ["a", "a"]
