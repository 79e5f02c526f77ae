"""Work on the newest value only."""

from __future__ import annotations

import asyncio

import pytest

from dapr_sidecar.runtime.newest import Newest


async def test_values_that_are_overtaken_are_left_out() -> None:
    done: list[int] = []
    gate, finished = asyncio.Event(), asyncio.Event()

    async def job(value: int) -> None:
        await gate.wait()
        done.append(value)
        if value == 4:
            finished.set()

    newest = Newest("numbers", job)
    newest.put(1)
    await asyncio.sleep(0)
    for value in (2, 3, 4):
        newest.put(value)
    gate.set()
    async with asyncio.timeout(20):
        await finished.wait()
    assert done == [1, 4]
    newest.put(5)
    await newest.close()
    assert done == [1, 4]


async def test_a_failure_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    finished = asyncio.Event()

    async def job(value: int) -> None:
        if value == 1:
            raise ValueError("no good")
        finished.set()

    newest = Newest("numbers", job)
    newest.put(1)
    await asyncio.sleep(0)
    newest.put(2)
    async with asyncio.timeout(20):
        await finished.wait()
    assert "numbers were not changed completely" in caplog.text
    await newest.close()
