from __future__ import annotations

import asyncio
import itertools
import re
from datetime import UTC, datetime

import pytest
from harness.block_api import make

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import Event
from dapr_sidecar.components.bindings.cron import Clock, CronBinding, CronSettings
from dapr_sidecar.components.metadata import SettingsError

SECOND = 1_000_000_000


class VirtualTime:
    """Time that passes only while somebody sleeps; each sleep wakes a little late."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 1_000_000 * SECOND + 250_000_000
        self.late = late
        self.sleeps: list[float] = []

    def now_ns(self) -> int:
        return self.now

    async def sleep(self, wait: float) -> None:
        self.sleeps.append(wait)
        self.now += int((wait + self.late) * SECOND)
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(self.now_ns, self.sleep)


async def cron(schedule: str, clock: Clock | None = None) -> CronBinding:
    binding = CronBinding(CronSettings(schedule=schedule), ComponentContext("tick", "a"), clock)
    await binding.open()
    return binding


def read_time(event: Event) -> int:
    text, _, fraction = event.metadata["readTimeUTC"].removesuffix(" +0000 UTC").partition(".")
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + int(fraction.ljust(9, "0") or "0")


async def collect(binding: CronBinding, time: VirtualTime, count: int) -> list[int]:
    fired: list[int] = []
    done = asyncio.Event()

    async def handler(event: Event) -> None:
        fired.append(read_time(event))
        if len(fired) >= count:
            done.set()

    await binding.start(handler)
    async with asyncio.timeout(30):
        await done.wait()
    await binding.stop()
    return fired[:count]


async def test_events_come_on_whole_seconds_without_drift() -> None:
    time = VirtualTime(late=0.003)
    fired = await collect(await cron("@every 1s", time.clock), time, 500)
    assert [moment // SECOND for moment in fired] == list(range(1_000_001, 1_000_501))


async def test_missed_times_are_not_made_up() -> None:
    time = VirtualTime(late=10.5)
    fired = await collect(await cron("@every 1s", time.clock), time, 3)
    gaps = [b - a for a, b in itertools.pairwise(fired)]
    assert all(gap >= 10 * SECOND for gap in gaps)


async def test_long_waits_notice_a_clock_that_was_set() -> None:
    time = VirtualTime()
    await collect(await cron("@every 1h", time.clock), time, 1)
    assert max(time.sleeps) <= 30


async def test_event() -> None:
    time = VirtualTime()
    time.now = 1_000_000 * SECOND
    binding = await cron("@every 1s", time.clock)
    events: list[Event] = []
    got = asyncio.Event()

    async def handler(event: Event) -> None:
        events.append(event)
        got.set()

    await binding.start(handler)
    await asyncio.wait_for(got.wait(), 30)
    await binding.stop()
    assert events[0].data == b""
    assert events[0].metadata == {
        "readTimeUTC": "1970-01-12 13:46:41 +0000 UTC",
        "timeZone": "Local",
    }


def test_time_as_go_prints_it() -> None:
    from dapr_sidecar.components.bindings.cron import _go_time

    assert _go_time(1_013_069) == "1970-01-01 00:00:00.001013069 +0000 UTC"
    assert _go_time(120_000_000) == "1970-01-01 00:00:00.12 +0000 UTC"


async def test_runs_overlap_and_stop_waits_for_them() -> None:
    time = VirtualTime()
    binding = await cron("@every 1s", time.clock)
    running = 0
    enough, go = asyncio.Event(), asyncio.Event()
    ended: list[int] = []

    async def handler(event: Event) -> None:
        nonlocal running
        running += 1
        if running == 3:
            enough.set()
        await go.wait()
        ended.append(running)

    await binding.start(handler)
    await asyncio.wait_for(enough.wait(), 30)
    stopping = asyncio.ensure_future(binding.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go.set()
    await asyncio.wait_for(stopping, 30)
    assert len(ended) == running >= 3
    await asyncio.sleep(0)
    assert len(ended) == running


async def test_errors_of_the_app_are_ignored() -> None:
    time = VirtualTime()
    binding = await cron("@every 1s", time.clock)
    calls = 0
    done = asyncio.Event()

    async def handler(event: Event) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            done.set()
        raise OSError("no")

    await binding.start(handler)
    await asyncio.wait_for(done.wait(), 30)
    await binding.stop()


async def test_it_can_be_started_again() -> None:
    time = VirtualTime()
    binding = await cron("@every 1s", time.clock)
    assert len(await collect(binding, time, 1)) == 1
    assert len(await collect(binding, time, 1)) == 1


async def test_a_bad_schedule_is_an_init_error() -> None:
    with pytest.raises(SettingsError, match=re.escape("invalid schedule format 'not a schedule'")):
        await cron("not a schedule")
    with pytest.raises(SettingsError, match="missing required metadata field 'schedule'"):
        make(CronBinding)
