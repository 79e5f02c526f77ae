"""Calls of client libraries: a deadline with words, cancellations that are none of ours, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager


@contextmanager
def own_cancellation(lost: str) -> Iterator[None]:
    """Raise ``ConnectionError(lost)`` where a library cancels the calls of a connection that ended.

    To its caller that is a failure, not a wish of somebody to stop. A cancellation of the task
    itself passes.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    except asyncio.CancelledError as error:
        if task.cancelling() > before:
            raise
        raise ConnectionError(lost) from error


@asynccontextmanager
async def within(seconds: float, silent: str) -> AsyncIterator[None]:
    """Raise ``ConnectionError`` with ``silent``, the deadline behind it, when the block is late."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if limit.expired():
            raise ConnectionError(f"{silent} within {seconds:g} s") from error
        raise


async def first_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Return when one of the tasks is over, whatever the others do; raise what it failed with."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
