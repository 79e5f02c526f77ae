"""What the tests of faults set up and look for: who lived twice, what is gone, what was late."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from faults.actors.fleet import TYPE, Client, Host
from harness.http_call import acall
from harness.sidecar import Manifest, Sidecar


def names(count: int) -> list[str]:
    """Actors to call."""
    return [f"actor-{number}" for number in range(count)]


@asynccontextmanager
async def calling(placement: str, actors: Sequence[str]) -> AsyncIterator[Client]:
    """A client beside a sidecar of its own, which hosts nothing."""
    async with Sidecar(flags=[f"--placement-host-address={placement}"]) as sidecar:
        yield Client(sidecar, actors)


async def hosts(
    stack: AsyncExitStack, placement: Iterable[str], resources: Sequence[Manifest]
) -> list[Host]:
    """One replica of an application for each way to placement."""
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


async def more_calls(client: Client, count: int) -> None:
    """Wait for so many acknowledged calls more than there are now."""
    wanted = client.count + count
    await until(lambda: client.count >= wanted)


def fired(everybody: Sequence[Host], kind: str) -> dict[str, list[float]]:
    """When each reminder (``remind``) or ``timer`` reached an app, wherever."""
    found: dict[str, list[float]] = {}
    for host in everybody:
        for one in host.reports("fired"):
            if one["fired"] == kind:
                found.setdefault(one["name"], []).append(one["at"])
    return {name: sorted(moments) for name, moments in found.items()}


def longest_gap(moments: Sequence[float], end: float) -> float:
    """Seconds, the time after the last one included."""
    assert moments, "never"
    ends = [*moments[1:], end]
    return max(later - sooner for sooner, later in zip(moments, ends, strict=True))


async def owned(host: Host) -> int:
    """How many actors are active on a host."""
    metadata = (await acall(host.sidecar.http_port, "GET", "/v1.0/metadata")).json
    active = metadata["actorRuntime"].get("activeActors", [])
    return sum(one.get("count", 0) for one in active if one["type"] == TYPE)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what only asking shows."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)
