"""Hosts, sidecars and placement fail while actors are called: each actor lives once at most."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

import pytest
from faults.actors.fleet import Host
from faults.actors.outcome import (
    calling,
    check,
    fired,
    hosts,
    longest_gap,
    more_calls,
    names,
    owned,
    resumed,
    until,
)
from harness.placement_process import Placement
from harness.proxy import proxy
from harness.sidecar import Manifest

_REMINDED = 60
_TIMED = 60
_BOUND_SECONDS = 40.0
"""From a failure until everything runs again on other hosts, on a busy machine."""


@pytest.fixture
def placement() -> Iterator[Placement]:
    with Placement() as found:
        yield found


@pytest.mark.slow
async def test_a_host_is_killed(
    placement: Placement, resources: list[Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    """10,000 actors on three hosts; calls, timers and reminders go on on the other two."""
    async with AsyncExitStack() as stack:
        everybody = await hosts(stack, [placement.address] * 3, resources)
        client = await stack.enter_async_context(calling(placement.address, names(10_000)))
        await client.call_each("ping", callers=32)  # every one of them is active
        for number in range(_REMINDED):
            host = everybody[number % 3]
            await host.remind(f"actor-{number}", f"r{number}", dueTime="1s", period="1s")
        for number in range(_TIMED):
            await everybody[number % 3].start_timer(f"actor-{number}", f"t{number}", period="1s")
        running = asyncio.create_task(client.run())
        await more_calls(client, 500)
        everybody[0].kill()
        seconds = await resumed(client, names(300))
        await more_calls(client, 500)
        await until(lambda: _fire_again(everybody[1:]))
        end = time.time()
        client.stop()
        await running
        reminders, timers = fired(everybody, "remind"), fired(everybody, "timer")
        for number in range(_REMINDED):
            assert longest_gap(reminders[f"r{number}"], end) < _BOUND_SECONDS, f"r{number}"
        for number in range(_TIMED):
            if number % 3:  # timers live in the sidecar that was asked for them
                assert longest_gap(timers[f"t{number}"], end) < _BOUND_SECONDS, f"t{number}"
        await check(client, everybody)
    assert seconds < _BOUND_SECONDS
    with capsys.disabled():
        sys.stdout.write(f"\n300 actors answered again {seconds:.1f} s after a host was killed\n")


def _fire_again(others: Sequence[Host]) -> bool:
    found = fired(others, "remind")
    return all(len(found.get(f"r{number}", ())) >= 2 for number in range(_REMINDED))


@pytest.mark.slow
async def test_a_host_cannot_reach_placement(
    placement: Placement, resources: list[Manifest]
) -> None:
    """It stops its actors by itself before they begin elsewhere, and gets some back later."""
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(proxy(placement.port))
        ways = [line.address, placement.address, placement.address]
        everybody = await hosts(stack, ways, resources)
        client = await stack.enter_async_context(calling(placement.address, names(600)))
        await client.call_each("ping")
        running = asyncio.create_task(client.run())
        await more_calls(client, 300)
        line.hold()
        await until(lambda: bool(everybody[0].reports("left")))
        assert await resumed(client, names(300)) < _BOUND_SECONDS
        line.release()
        line.cut()
        before = len(everybody[1].reports("left"))
        await until(lambda: len(everybody[1].reports("left")) > before)
        client.stop()
        await running
        await check(client, everybody)


@pytest.mark.slow
async def test_a_sidecar_is_stopped_and_wakes_up_again(
    placement: Placement, resources: list[Manifest]
) -> None:
    """What it believed to own when it fell asleep is somebody else's when it wakes up."""
    async with AsyncExitStack() as stack:
        everybody = await hosts(stack, [placement.address] * 3, resources)
        client = await stack.enter_async_context(calling(placement.address, names(600)))
        await client.call_each("ping")
        running = asyncio.create_task(client.run())
        await more_calls(client, 300)
        everybody[0].sidecar.signal(signal.SIGSTOP)
        try:
            assert await resumed(client, names(300)) < 2 * _BOUND_SECONDS
        finally:
            everybody[0].sidecar.signal(signal.SIGCONT)
        await until(lambda: bool(everybody[0].reports("left")))
        await more_calls(client, 300)
        client.stop()
        await running
        await check(client, everybody)


@pytest.mark.slow
async def test_a_host_joins_while_a_slow_app_is_called(
    placement: Placement, resources: list[Manifest]
) -> None:
    """Calls that take longer than the drain are cancelled; what they write later is refused."""
    async with AsyncExitStack() as stack:
        app_id = f"slow-{secrets.token_hex(4)}"
        replicas = [Host(app_id, placement.address, resources, delay=3.0) for _ in range(3)]
        slow, third = replicas[:2], replicas[2]
        for host in slow:
            await stack.enter_async_context(host)
        client = await stack.enter_async_context(calling(placement.address, names(40)))
        await client.call_each("ping")
        running = asyncio.create_task(client.run(callers=40))
        await more_calls(client, 40)
        await stack.enter_async_context(third)
        await more_calls(client, 120)
        client.stop()
        await running
        await check(client, replicas)
        assert await owned(third) > 0
