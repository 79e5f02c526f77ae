"""Operations that do not end when they are told to."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from dapr_sidecar.resiliency import timeout
from dapr_sidecar.resiliency.base import PolicyTimeoutError
from dapr_sidecar.resiliency.timeout import within


class Stubborn:
    """Goes on for a while after it was cancelled, and then ends as it likes."""

    def __init__(self, seconds: float, end: Exception | str) -> None:
        self._seconds = seconds
        self._end = end
        self.ended = False

    async def __call__(self) -> str:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(self._seconds)
        self.ended = True
        if isinstance(self._end, Exception):
            raise self._end
        return self._end


@pytest.mark.parametrize("end", ["late", OSError("late")])
def test_the_caller_does_not_wait_for_a_slow_end(world: Any, end: Exception | str) -> None:
    operation = Stubborn(30, end)
    loud: list[object] = []
    world.loop.set_exception_handler(lambda _, context: loud.append(context))

    async def main() -> float:
        with pytest.raises(PolicyTimeoutError):
            await within(1.0, operation)
        told = asyncio.get_running_loop().time()
        assert len(timeout._abandoned) == 1
        assert not operation.ended
        await asyncio.sleep(31)
        return told

    assert 1.0 <= world.run(main()) <= 1.1
    assert operation.ended
    assert timeout._abandoned == set()
    gc.collect()
    assert loud == []


def test_attempts_follow_each_other_past_a_slow_end(world: Any) -> None:
    policies = world.policies(
        {
            "policies": {
                "timeouts": {"t": "1s"},
                "retries": {"r": {"duration": 0, "maxRetries": 2}},
            },
            "targets": {"apps": {"a": {"timeout": "t", "retry": "r"}}},
        }
    )
    attempts: list[float] = []

    async def operation() -> str:
        attempts.append(round(world.loop.time(), 3))
        return await Stubborn(30, "late")()

    async def main() -> None:
        with pytest.raises(PolicyTimeoutError):
            await policies.app("a", "a:m").run(operation)
        await asyncio.sleep(60)

    world.run(main())
    assert attempts == [0, 1.05, 2.1]


def test_a_caller_that_is_cancelled_waits_for_the_end(world: Any) -> None:
    operation = Stubborn(30, "late")

    async def main() -> float:
        caller = asyncio.ensure_future(within(100, operation))
        await asyncio.sleep(1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        return asyncio.get_running_loop().time()

    assert world.run(main()) == pytest.approx(31)
    assert operation.ended


def test_an_operation_that_is_cancelled_from_within_is_no_timeout(world: Any) -> None:
    async def operation() -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await within(100, operation)

    world.run(main())
    assert world.loop.time() == 0
