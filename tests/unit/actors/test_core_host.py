"""Actors on one sidecar with a stand-in app: activation, idling, draining, moving."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dapr_common.errors import DaprError
from dapr_common.observe.metrics import Registry
from dapr_common.observe.tracing import Tracer
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.base import (
    ActorAnswer,
    ActorCall,
    ActorRef,
    Callback,
    Reentrancy,
    TypeSettings,
)
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.instances.host import ActorHost
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.turns import ActorClosedError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.telemetry.actors import ActorMetrics

OWN, OTHER = "10.0.0.1:1", "10.0.0.2:1"


class StandInApp:
    """Answers when ``gate`` is open; remembers what it was told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.leave = asyncio.Event()
        self.leave.set()
        self.calls: list[str] = []
        self.gone: list[str] = []
        self.running = 0
        self.most = 0

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        self.calls.append(f"{call.ref.id}.{call.method}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return ActorAnswer(200, (), "", call.body)

    async def fire(self, callback: Callback) -> bool:
        self.calls.append(f"{callback.ref.id}.{callback.name}")
        return True

    async def deactivate(self, ref: ActorRef) -> None:
        await self.leave.wait()
        self.gone.append(ref.id)


class World:
    """A host whose placement says what a test says."""

    def __init__(self, settings: TypeSettings) -> None:
        self.registry = Registry()
        metrics: Any = type("Metrics", (), {"actors": ActorMetrics(self.registry)})()
        self.context = SidecarContext(
            SidecarIdentity("a", "", "default", "10.0.0.1", "h"),
            LoadedPolicies(),
            metrics,
            Tracer(0.0),
        )
        self.app, self.hosting = StandInApp(), Hosting()
        self.view = PlacementView(30.0)
        self.view.named(OWN)
        self.heard = True
        self.hosting.set_store(True)
        self.hosting.register(self.app, {"T": settings})
        self.view.host(self.hosting.types)
        self.host = ActorHost(self.context, self.hosting, self.view)
        self.view.listen(self.host.deactivation)
        self.version = 0

    async def tables(self, *hosts: str, unlock: bool = True) -> None:
        """A whole round."""
        self.version += 1
        message = pb.PlacementTables(replication_factor=100)
        for name in hosts:
            message.entries["T"].load_map[name].name = name
        if not self.view.connected:
            self.view.connect(self._heard, 3.0)
        self.view.lock(self.version)
        self.view.answered()
        await self.view.leaving(self.view.update(message, self.version))
        self.view.drained()
        self.view.answered()
        if unlock:
            self.view.settled(self.view.unlock(self.version) or frozenset())
            self.view.answered()

    def _heard(self) -> float:
        return self.view._clock() if self.heard else float("-inf")

    def call(self, actor: str, method: str = "m", caller: str | None = None) -> asyncio.Task[Any]:
        return asyncio.create_task(
            self.host.invoke(ActorCall(ActorRef("T", actor), method), caller)
        )


Make = Callable[..., Awaitable[World]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[World] = []

    async def one(**settings: Any) -> World:
        world = World(TypeSettings(**settings))
        made.append(world)
        await world.tables(OWN)
        return world

    yield one
    for world in made:
        world.app.gate.set()
        world.app.leave.set()
        await world.host.deactivation.close(1.0)


def moving(count: int) -> list[str]:
    """Actors that move when the other sidecar comes."""
    view = PlacementView(30.0)
    view.named(OTHER)
    message = pb.PlacementTables(replication_factor=100)
    for name in (OWN, OTHER):
        message.entries["T"].load_map[name].name = name
    view.update(message, 1)
    names = (f"a{number}" for number in range(10_000))
    mine = (n for n in names if (o := view.owner(ActorRef("T", n))) is not None and o.local)
    return [next(mine) for _ in range(count)]


async def started(world: World, calls: int) -> None:
    while len(world.app.calls) < calls:
        await asyncio.sleep(0)


async def test_an_actor_lives_from_its_first_call(make: Make) -> None:
    world = await make()
    ref = ActorRef("T", "1")
    assert not world.host.is_active(ref)
    assert world.host.counts() == (("T", 0),)
    assert (await world.call("1")).status == 200
    assert world.host.is_active(ref)
    assert world.host.counts() == (("T", 1),)
    assert await world.host.fire(Callback(ref, "r", "reminder"))
    assert world.app.calls == ["1.m", "1.r"]


async def test_one_turn_at_a_time_but_for_reentrant_calls(make: Make) -> None:
    world = await make(reentrancy=Reentrancy(True, 2))
    world.app.gate.clear()
    first, second = world.call("1"), world.call("1")
    await started(world, 1)
    other = world.call("2")
    await started(world, 2)
    assert world.app.most == 2
    world.app.gate.set()
    await asyncio.gather(first, second, other)
    assert len(world.app.calls) == 3
    world.app.gate.clear()
    calls = [world.call("1", caller="x"), world.call("1", caller="x")]
    await started(world, 5)
    with pytest.raises(DaprError, match="maximum stack depth exceeded"):
        await world.call("1", caller="x")
    world.app.gate.set()
    await asyncio.gather(*calls)


async def test_nothing_begins_when_placement_was_not_heard_of(make: Make) -> None:
    world = await make()
    await world.call("1")
    world.heard = False
    with pytest.raises(ActorClosedError):
        await world.call("1")
    assert not world.view.holds(ActorRef("T", "1"))


async def test_an_idle_actor_leaves_and_a_call_waits_until_it_is_gone(make: Make) -> None:
    world = await make(idle_timeout=0.1)
    world.app.leave.clear()
    await world.call("1")
    while ActorRef("T", "1") in [
        i.ref for k in world.host._types.values() for i in k.instances.values()
    ]:
        await asyncio.sleep(0.02)
    assert world.host.is_active(ActorRef("T", "1")), "until the app has let go it may still write"
    again = world.call("1")
    await asyncio.sleep(0.05)
    assert world.app.calls == ["1.m"]
    world.app.leave.set()
    await again
    assert world.app.gone == ["1"]


async def test_a_busy_actor_is_not_idle(make: Make) -> None:
    world = await make(idle_timeout=0.05)
    world.app.gate.clear()
    running = world.call("1")
    await started(world, 1)
    await asyncio.sleep(0.5)
    assert world.app.gone == []
    world.app.gate.set()
    await running


async def test_actors_that_move_are_drained_and_others_are_not_disturbed(make: Make) -> None:
    world = await make(drain_timeout=5.0)
    (moved,) = moving(1)
    stays = next(n for n in ("s1", "s2", "s3", "s4", "s5", "s6", "s7") if n not in moving(400))
    world.app.gate.clear()
    running = {name: world.call(name) for name in (moved, stays)}
    await started(world, 2)
    turn = asyncio.create_task(world.tables(OWN, OTHER))
    await asyncio.sleep(0.05)
    assert not turn.done(), "placement is not answered while a turn runs"
    assert world.view.holds(ActorRef("T", moved)), "what runs may still write"
    assert not world.view.is_mine(ActorRef("T", moved))
    world.app.gate.set()
    await turn
    for task in running.values():
        assert (await task).status == 200
    assert world.app.gone == [moved]
    assert not world.view.holds(ActorRef("T", moved))
    with pytest.raises(ActorClosedError):
        await world.call(moved)
    assert (await world.call(stays)).status == 200


@pytest.mark.parametrize(
    "settings", [{"drain_timeout": 0.1}, {"drain_timeout": 20.0, "drain_rebalanced": False}]
)
async def test_a_call_that_takes_too_long_is_ended(make: Make, settings: dict[str, Any]) -> None:
    world = await make(**settings)
    (moved,) = moving(1)
    world.app.gate.clear()
    running, waiting = world.call(moved), world.call(moved)
    await started(world, 1)
    async with asyncio.timeout(15):
        await world.tables(OWN, OTHER)
    with pytest.raises(DaprError, match="the actor leaves this sidecar"):
        await running
    with pytest.raises(ActorClosedError):
        await waiting
    assert world.app.gone == [moved]


async def test_a_caller_that_goes_ends_its_call_only(make: Make) -> None:
    world = await make()
    world.app.gate.clear()
    running, waiting = world.call("1"), world.call("1")
    await started(world, 1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    world.app.gate.set()
    assert (await waiting).status == 200


async def test_the_loss_of_placement_ends_everything_at_once(make: Make) -> None:
    world = await make(drain_timeout=20.0)
    await world.call("idle")
    world.app.gate.clear()
    running = world.call("busy")
    await started(world, 2)
    await world.view.leaving(world.view.lost())
    with pytest.raises(DaprError, match="leaves this sidecar"):
        await running
    assert sorted(world.app.gone) == ["busy", "idle"]
    assert world.host.counts() == (("T", 0),)


async def test_idle_actors_are_small(make: Make) -> None:
    world = await make()
    count = 5000
    await asyncio.gather(*(world.call(f"warm-{number}") for number in range(100)))
    names = [f"idle-{number}" for number in range(count)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            await world.host.invoke(ActorCall(ActorRef("T", name), "m"), None)
        world.app.calls.clear()
        each = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    assert each < 500


async def test_the_end_of_a_batch_of_deactivations_is_nobody_else_s_end(make: Make) -> None:
    world = await make()
    for actor in ("1", "2"):
        await world.call(actor)
    deactivation, kind = world.host.deactivation, world.host._types["T"]
    slow = asyncio.Event()
    told: list[str] = []

    async def deactivate(ref: ActorRef) -> None:
        told.append(ref.id)
        if ref.id == "2" or told.count("1") > 1:
            await slow.wait()

    world.app.deactivate = deactivate  # type: ignore[method-assign]
    first = deactivation._spawn(deactivation._tell_app(deactivation._taken_out(both(kind))))
    while "1" in kind.leaving:
        await asyncio.sleep(0)
    await world.call("1")
    second = deactivation._spawn(deactivation._tell_app(deactivation._taken_out(both(kind))))
    while told.count("1") < 2:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert "1" in kind.leaving  # its own deactivation is still under way
    slow.set()
    await second
    assert not kind.leaving


def both(kind: Any) -> list[Any]:
    return list(kind.instances.values())


async def test_what_is_told_last_is_told_when_turns_are_over(make: Make) -> None:
    """A turn that is drained may write to its end; placement is answered after its writes."""
    world = await make(drain_timeout=30.0)
    actor = moving(1)[0]
    left = asyncio.Event()

    class Last:
        async def leaving(self, types: frozenset[str]) -> None:
            assert types == {"T"}
            assert world.app.running == 0
            assert world.view.holds(ActorRef("T", actor))
            left.set()

        def settled(self, types: frozenset[str]) -> None:
            pass

    world.view.listen(Last(), last=True)
    world.app.gate.clear()
    running = world.call(actor)
    await started(world, 1)
    move = asyncio.create_task(world.tables(OWN, OTHER))
    while not world.view.rounds.is_moving("T"):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not left.is_set()
    world.app.gate.set()
    await move
    assert left.is_set()
    assert (await running).status == 200
    assert not world.view.holds(ActorRef("T", actor))
