"""The runtime's part of hosting: types hosted again before placement gave them away, and more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from harness.block_api import loaded, make, make_context

from dapr_common.aio.run import FatalError
from dapr_common.kube import resources
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, TypeSettings
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.options import Options, read
from dapr_sidecar.runtime.actors import ActorParts
from dapr_sidecar.runtime.scheduler import SchedulerParts

OWN = "10.0.0.1:1"
ACTOR = ActorRef("T", "1")


class StandInApp:
    def __init__(self) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0
        self.gone: list[str] = []

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.set()
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1
        return ActorAnswer(200, (), "", b"")

    async def fire(self, callback: Any) -> bool:
        return False

    async def deactivate(self, ref: ActorRef) -> None:
        self.gone.append(ref.id)


class Listener:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def leaving(self, types: frozenset[str]) -> None:
        self.told.append("leaving")

    def settled(self, types: frozenset[str]) -> None:
        self.told.append("settled")


class World:
    """A sidecar's actors; placement says what a test says."""

    def __init__(self) -> None:
        options = read(["--app-id=a", "--placement-host-address=127.0.0.1:1"], {})
        assert isinstance(options, Options)
        self.context = context = make_context()
        context.components.state["st"] = self.store("st", actorStateStore="true")
        invocation = InvocationBlock(context, security=None, max_message_bytes=1 << 20)
        self.parts = ActorParts(
            context, options, invocation, None, SchedulerParts(context, options, None)
        )
        self.app, self.listener = StandInApp(), Listener()
        self.parts.view.named(OWN)
        self.parts.view.listen(self.listener)
        self.parts._started = True

    def store(self, name: str, **properties: str) -> Any:
        found = loaded(name, make(InMemoryStateStore), **properties)
        found.manifest = resources.Component(name, "state.in-memory")
        return found

    async def begin(self, **settings: Any) -> None:
        view = self.parts.view
        await self.parts.component_changed(self.context.components.state["st"].manifest)
        self.parts.hosting.register(self.app, {"T": TypeSettings(**settings)})
        await self.parts._settle()
        view.connect(view._clock, 3.0)
        view.lock(1)
        message = pb.PlacementTables(replication_factor=100)
        message.entries["T"].load_map[OWN].name = OWN
        await view.leaving(view.update(message, 1))
        view.drained()
        view.settled(view.unlock(1) or frozenset())
        view.answered()
        self.listener.told.clear()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    found = World()
    yield found
    found.app.go_on.set()
    await found.parts.close()


async def test_types_that_were_away_for_a_moment_are_settled_without_a_round(world: World) -> None:
    await world.begin()
    world.parts.hosting.set_healthy(False)
    world.parts.hosting.set_healthy(True)
    await world.parts._settle()
    assert world.listener.told == ["leaving", "settled"]


async def test_types_that_placement_took_meanwhile_are_settled_by_its_round(world: World) -> None:
    await world.begin()
    world.parts.hosting.set_healthy(False)
    await world.parts._settle()
    world.parts.view.lock(2)
    await world.parts.view.leaving(world.parts.view.update(pb.PlacementTables(), 2))
    world.parts.hosting.set_healthy(True)
    await world.parts._settle()
    assert world.listener.told == ["leaving", "leaving"]


async def test_no_turn_begins_while_the_turns_of_before_are_ended(world: World) -> None:
    await world.begin(drain_timeout=0.05)
    calls = [
        asyncio.create_task(world.parts.router.invoke(ActorCall(ACTOR, "m"))) for _ in range(2)
    ]
    await world.app.entered.wait()
    world.parts.hosting.set_healthy(False)
    while world.parts.host._types["T"].ended is None:  # nobody waits for turns to end yet
        await asyncio.sleep(0)
    world.app.entered.clear()
    world.parts.hosting.set_healthy(True)
    await world.app.entered.wait()
    assert world.app.gone == ["1"]
    calls.append(asyncio.create_task(world.parts.router.invoke(ActorCall(ACTOR, "m"))))
    world.app.go_on.set()
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert "leaves this sidecar" in str(first)
    assert all(isinstance(answer, ActorAnswer) for answer in others)
    assert world.app.most == 1


async def test_another_state_store_s_change_is_none_of_the_actors_business(world: World) -> None:
    await world.begin()
    reloads: list[str] = []

    async def reload() -> None:
        reloads.append("again")

    world.parts.state.store_changed = reload  # type: ignore[method-assign]
    other = world.context.components.state["other"] = world.store("other")
    await world.parts.component_changed(other.manifest)
    assert not reloads
    world.context.components.state["st"] = world.store("st", actorStateStore="true")
    await world.parts.component_changed(other.manifest)
    assert reloads == ["again"]


async def test_actors_of_a_cluster_need_a_namespace(world: World) -> None:
    parts: Any = world.parts
    parts._options = replace(parts._options, mode="kubernetes")
    parts._security = object()
    world.context.identity.invocation_namespace = ""
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(FatalError, match="actors must have a namespace"):
            await parts.run(tasks)
