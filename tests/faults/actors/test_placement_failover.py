"""The placement server that leads fails while actors are called, and another one takes over.

Three servers have their lock in etcd. A leader that is killed keeps it for 10 s; meanwhile no
sidecar has tables, so calls wait. They may not be lost, and no actor may live twice.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from faults.actors.fleet import Client, Host
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
from harness.backends import Backends
from harness.placement_group import PlacementGroup
from harness.placement_process import Placement, PlacementClient
from harness.sidecar import Manifest

_ACTORS, _PERIODIC, _ONCE = 600, 30, 45
_BOUND_SECONDS = 45.0
"""From the leader's end until everything runs again: its lock's 10 s, then every sidecar looks for
the next leader, and a server that stands still costs it 5 s more; on a busy machine.
"""
Firings = Mapping[str, Sequence[float]]
_UNLOCK = "placement order unlock"
_CONNECTED = "connected to placement"


@pytest.fixture
async def servers(backends: Backends) -> AsyncIterator[PlacementGroup]:
    etcd = await asyncio.to_thread(backends.shared, "etcd")
    async with PlacementGroup(etcd.address) as group:
        yield group


@dataclass
class Load:
    """Hosts whose actors are called, timed and reminded all the time."""

    hosts: list[Host]
    client: Client
    due: dict[str, float] = field(default_factory=dict)
    """Reminders that run once, by name, and until when they should have."""

    async def begin(self) -> None:
        """Every actor is active, and timers and reminders run."""
        await self.call_all()
        for number in range(_PERIODIC):
            host, actor = self.hosts[number % 3], f"actor-{number}"
            await host.remind(actor, f"r{number}", dueTime="1s", period="2s")
            await host.start_timer(actor, f"t{number}", period="2s")

    async def call_all(self) -> None:
        """After this every actor is active somewhere."""
        await Client(self.client.sidecar, self.client.actors).call_each("ping", callers=32)

    async def schedule(self) -> None:
        """Reminders that are due while nobody leads."""
        for number in range(_ONCE):
            name, seconds = f"once-{number}", 2 + number % 9
            await self.hosts[number % 3].remind(f"actor-{number}", name, dueTime=f"{seconds}s")
            self.due[name] = time.time() + seconds + _BOUND_SECONDS

    async def settle(self) -> None:
        """Wait until all that is to fire has fired, what is periodic since now."""
        since = time.time()
        await until(lambda: self._has_fired(since), _BOUND_SECONDS)

    def _has_fired(self, since: float) -> bool:
        reminders, timers = fired(self.hosts, "remind"), fired(self.hosts, "timer")
        return self.due.keys() <= reminders.keys() and all(
            found.get(name, [0.0])[-1] > since for found, name in _periodic(reminders, timers)
        )

    def check_fired(self, end: float) -> None:
        reminders, timers = fired(self.hosts, "remind"), fired(self.hosts, "timer")
        for name, bound in self.due.items():
            assert reminders[name][0] < bound, name
        for found, name in _periodic(reminders, timers):
            assert longest_gap(found[name], end) < _BOUND_SECONDS, name


def _periodic(reminders: Firings, timers: Firings) -> Iterator[tuple[Firings, str]]:
    for number in range(_PERIODIC):
        yield reminders, f"r{number}"
        yield timers, f"t{number}"


@asynccontextmanager
async def loaded(servers: PlacementGroup, resources: Sequence[Manifest]) -> AsyncIterator[Load]:
    """Three hosts and a client that calls until the block ends; then nothing may be lost."""
    async with AsyncExitStack() as stack:
        everybody = await hosts(stack, [servers.addresses] * 3, resources)
        client = await stack.enter_async_context(calling(servers.addresses, names(_ACTORS)))
        load = Load(everybody, client)
        await load.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.run())
            await more_calls(client, 300)
            await load.schedule()
            try:
                yield load
                await load.settle()
            finally:
                client.stop()
        load.check_fired(time.time())
        await check(client, load.hosts)


def next_tables(everybody: Sequence[Host]) -> list[asyncio.Future[float]]:
    """When each of the hosts has new tables in force; counted from this call on."""

    def wait(host: Host, count: int) -> float:
        host.sidecar.wait_lines(_UNLOCK, count, _BOUND_SECONDS)
        return time.time()

    return [
        asyncio.ensure_future(asyncio.to_thread(wait, host, lines(host, _UNLOCK) + 1))
        for host in everybody
    ]


def lines(host: Host, text: str) -> int:
    return sum(text in line for line in host.sidecar.lines)


def said(load: Load, failed: float, moments: Sequence[float], what: str) -> str:
    """The measurement, for whoever reads the run."""
    calls = [moment for moment in load.client.moments() if moment > failed - 1.0]
    return (
        f"\n{what}: new tables {min(moments) - failed:.1f} s later at the first host, "
        f"{max(moments) - failed:.1f} s at the last; longest gap between two of "
        f"{load.client.count} calls {longest_gap(calls, calls[-1]):.1f} s, "
        f"{sum(load.client.failures.values())} failed {dict(load.client.failures)}\n"
    )


@pytest.mark.slow
async def test_the_leader_is_killed(
    servers: PlacementGroup, resources: list[Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything goes on with the next one, and a host that comes then gets its share."""
    async with AsyncExitStack() as stack, loaded(servers, resources) as load:
        leader = await servers.leader()
        tables = next_tables(load.hosts)
        failed = time.time()
        leader.signal(signal.SIGKILL)
        moments = await asyncio.gather(*tables)
        await resumed(load.client, names(300))
        await more_calls(load.client, 300)
        report = said(load, failed, moments, "The placement leader was killed")
        late = Host(load.hosts[0].sidecar.app_id, servers.addresses, resources)
        tables = next_tables(load.hosts)
        load.hosts.append(await stack.enter_async_context(late))
        await asyncio.gather(*tables)
        await load.call_all()
        assert await owned(late) > _ACTORS // 10, "of the quarter that the ring gives to it"
    with capsys.disabled():
        sys.stdout.write(report)
    assert max(moments) - failed < _BOUND_SECONDS


@pytest.mark.slow
async def test_the_leader_is_stopped_and_wakes_up_again(
    servers: PlacementGroup, resources: list[Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a round: what it finds when it wakes up would have made it send tables."""
    async with loaded(servers, resources) as load:
        leader = await servers.leader()
        async with joined(leader, load) as witness:
            await witness.report("Other", "Another")
            order = await witness.next()
            assert order.operation == "lock"
            tables = next_tables(load.hosts)
            failed = time.time()
            leader.signal(signal.SIGSTOP)
            try:
                await witness.acknowledge(order)
                await more_calls(load.client, 50)
                assert not any(each.done() for each in tables), "served by the tables in force"
                moments = await asyncio.gather(*tables)
                await resumed(load.client, names(300))
                connected = [lines(host, _CONNECTED) for host in load.hosts]
            finally:
                leader.signal(signal.SIGCONT)
            assert (await witness.status())[0] is grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(EOFError):
                await witness.next()
        async with PlacementClient(leader.address, "newcomer") as newcomer:
            assert (await newcomer.status())[0] is grpc.StatusCode.FAILED_PRECONDITION
        await more_calls(load.client, 300)
        assert [lines(host, _CONNECTED) for host in load.hosts] == connected
        report = said(load, failed, moments, "The placement leader stood still")
    with capsys.disabled():
        sys.stdout.write(report)
    assert max(moments) - failed < _BOUND_SECONDS


@asynccontextmanager
async def joined(leader: Placement, load: Load) -> AsyncIterator[PlacementClient]:
    """A host of another type, in a round with all others; everybody has finished it."""
    tables = next_tables(load.hosts)
    async with PlacementClient(leader.address, "witness") as witness:
        await witness.report("Other")
        for _ in range(3):
            await witness.acknowledge(await witness.next())
        await asyncio.gather(*tables)
        yield witness
