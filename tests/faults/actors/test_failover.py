"""Hosts, sidecars and placement fail while actors are called: each actor lives once at most."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from faults.actors.fleet import TYPE, Client, Host
from harness.http_call import call
from harness.placement_process import Placement
from harness.proxy import proxy
from harness.redis_server import RedisServer, redis_server
from harness.sidecar import Manifest, Sidecar, component

_REMINDED = 60
_TIMED = 60
_BOUND_SECONDS = 15.0
"""From a failure until everything runs again on other hosts, on a busy machine."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
def placement() -> Iterator[Placement]:
    with Placement() as found:
        yield found


@pytest.fixture
def resources(redis: RedisServer) -> list[Manifest]:
    redis.call("FLUSHALL")
    store = component("actors", "state.redis", redisHost=redis.address, actorStateStore="true")
    return [store]


@asynccontextmanager
async def calling(placement: str, actors: Sequence[str]) -> AsyncIterator[Client]:
    """A client beside a sidecar of its own, which hosts nothing."""
    async with Sidecar(flags=[f"--placement-host-address={placement}"]) as sidecar:
        yield Client(sidecar, actors)


def names(count: int) -> list[str]:
    return [f"actor-{number}" for number in range(count)]


async def hosts(
    stack: AsyncExitStack, placement: Sequence[str], resources: Sequence[Manifest]
) -> list[Host]:
    app_id = f"counters-{secrets.token_hex(4)}"
    replicas = [Host(app_id, address, resources) for address in placement]
    return list(await asyncio.gather(*map(stack.enter_async_context, replicas)))


async def check(client: Client, everybody: Sequence[Host]) -> None:
    """Nobody lived twice, and nothing that was acknowledged is gone."""
    for host in everybody:
        assert host.reports("violation") == []
    counts = await Client(client.sidecar, list(client.acknowledged)).call_each("ping")
    lost = {name for name, calls in client.acknowledged.items() if counts[name] < calls}
    assert lost == set()


async def resumed(client: Client, sample: Sequence[str]) -> float:
    """Seconds until every one of these actors has answered again."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        await Client(client.sidecar, sample).call_each("ping", callers=len(sample))
    return time.monotonic() - began


def fired(everybody: Sequence[Host], kind: str, name: str) -> list[float]:
    reports = [one for host in everybody for one in host.reports("fired")]
    return sorted(one["at"] for one in reports if one["fired"] == kind and one["name"] == name)


def longest_gap(moments: Sequence[float], until: float) -> float:
    assert moments, "never fired"
    ends = [*moments[1:], until]
    return max(end - begin for begin, end in zip(moments, ends, strict=True))


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
        await _until(lambda: sum(client.acknowledged.values()) > 500)
        everybody[0].kill()
        seconds = await resumed(client, names(300))
        settled = sum(client.acknowledged.values())
        await _until(lambda: sum(client.acknowledged.values()) > settled + 500)
        await _until(lambda: all(_fires_again(everybody, number) for number in range(_REMINDED)))
        until = time.time()
        client.stop()
        await running
        for number in range(_REMINDED):
            moments = fired(everybody, "remind", f"r{number}")
            assert longest_gap(moments, until) < _BOUND_SECONDS, f"r{number}"
        for number in range(_TIMED):
            if number % 3:  # timers live in the sidecar that was asked for them
                moments = fired(everybody, "timer", f"t{number}")
                assert longest_gap(moments, until) < _BOUND_SECONDS, f"t{number}"
        await check(client, everybody)
    assert seconds < _BOUND_SECONDS
    with capsys.disabled():
        sys.stdout.write(f"\n300 actors answered again {seconds:.1f} s after a host was killed\n")


def _fires_again(everybody: Sequence[Host], number: int) -> bool:
    reports = [one for host in everybody[1:] for one in host.reports("fired")]
    return sum(one["name"] == f"r{number}" for one in reports) >= 2


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
        await _until(lambda: sum(client.acknowledged.values()) > 300)
        line.hold()
        await _until(lambda: bool(everybody[0].reports("left")))
        assert await resumed(client, names(300)) < _BOUND_SECONDS
        line.release()
        line.cut()
        before = len(everybody[1].reports("left"))
        await _until(lambda: len(everybody[1].reports("left")) > before)
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
        await _until(lambda: sum(client.acknowledged.values()) > 300)
        everybody[0].sidecar.signal(signal.SIGSTOP)
        try:
            assert await resumed(client, names(300)) < 2 * _BOUND_SECONDS
        finally:
            everybody[0].sidecar.signal(signal.SIGCONT)
        await _until(lambda: bool(everybody[0].reports("left")))
        settled = sum(client.acknowledged.values())
        await _until(lambda: sum(client.acknowledged.values()) > settled + 300)
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
        await _until(lambda: sum(client.acknowledged.values()) > 40)
        await stack.enter_async_context(third)
        settled = sum(client.acknowledged.values())
        await _until(lambda: sum(client.acknowledged.values()) > settled + 120)
        client.stop()
        await running
        await check(client, replicas)
        assert await _owned(third) > 0


async def _owned(host: Host) -> int:
    metadata = await asyncio.to_thread(_metadata, host.sidecar)
    active = metadata["actorRuntime"]["activeActors"]
    return sum(one.get("count", 0) for one in active if one["type"] == TYPE)


def _metadata(sidecar: Sidecar) -> dict[str, Any]:
    return dict(call(sidecar.http_port, "GET", "/v1.0/metadata").json)


async def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)
