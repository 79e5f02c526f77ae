"""Keys that wait to be told: once each, bounded, and none lost when a server is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable

import pytest

from dapr_sidecar.components.configuration import changes
from dapr_sidecar.components.configuration.changes import ChangedKeys

LOG = logging.getLogger("test")


class AwayError(Exception):
    pass


class Watch:
    """What a store does with changed keys; ``failures`` are raised one after the other."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.news = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.every: list[str] = []
        self.looked = 0
        self.failures: list[Exception] = []
        self.look_failures: list[Exception] = []
        self.keys = ChangedKeys(LOG, "store", self.tell, self.look_again, (AwayError,))

    async def tell(self, key: str) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        async with self.news:
            self.told.append(key)
            self.news.notify_all()

    async def look_again(self) -> Iterable[str]:
        self.looked += 1
        if self.look_failures:
            raise self.look_failures.pop(0)
        return self.every

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(condition)


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    monkeypatch.setattr(changes, "_FIRST_PAUSE", 0.01)
    found = Watch()
    task = asyncio.create_task(found.keys.run())
    yield found
    task.cancel()
    await asyncio.wait([task])


async def test_a_key_waits_once(watch: Watch) -> None:
    watch.gate.clear()
    watch.keys.mark("a")
    await asyncio.sleep(0)  # it is being told now
    for key in ("b", "a", "b", "a"):
        watch.keys.mark(key)
    watch.gate.set()
    await watch.wait(lambda: len(watch.told) == 3)
    assert watch.told == ["a", "b", "a"]


async def test_a_server_that_is_away_is_waited_for(watch: Watch) -> None:
    watch.failures = [AwayError("away")] * 3
    watch.keys.mark("a")
    await watch.wait(lambda: watch.told == ["a"])


async def test_a_receiver_that_fails_loses_that_update_only(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.failures = [RuntimeError("no")]
    watch.keys.mark("a")
    watch.keys.mark("b")
    await watch.wait(lambda: watch.told == ["b"])
    assert "not delivered: no" in caplog.text


async def test_all_keys_are_looked_at_until_that_works(watch: Watch) -> None:
    watch.every = ["a", "b"]
    watch.look_failures = [AwayError("away"), RuntimeError("refused")]
    watch.keys.mark_all()
    await watch.wait(lambda: watch.told == ["a", "b"])
    assert watch.looked == 3


async def test_more_keys_than_may_wait(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_PENDING_LIMIT", 5)
    watch.gate.clear()
    watch.every = [f"k{n}" for n in range(20)]
    for key in watch.every:
        watch.keys.mark(key)
    assert len(watch.keys._pending) == 5
    watch.gate.set()
    await watch.wait(lambda: set(watch.told) == set(watch.every))
    await watch.wait(lambda: len(watch.told) >= 20)
    assert watch.looked == 1  # and then there is an end
    assert len(watch.told) <= 26
