"""The runtime's part of hosting: types hosted again before placement gave them away, and more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from unit.actors.hosting_world import ACTOR, World

from dapr_common.aio.run import FatalError
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall


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
    await world.parts.hosted.settle()
    assert world.listener.told == ["leaving", "settled"]


async def test_types_that_placement_took_meanwhile_are_settled_by_its_round(world: World) -> None:
    await world.begin()
    world.parts.hosting.set_healthy(False)
    await world.parts.hosted.settle()
    world.parts.view.lock(2)
    await world.parts.view.leaving(world.parts.view.update(pb.PlacementTables(), 2))
    world.parts.hosting.set_healthy(True)
    await world.parts.hosted.settle()
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


async def test_types_of_other_apps_are_left_out_and_the_others_are_hosted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Placement would refuse this sidecar with all it hosts."""
    await world.begin()
    own = "dapr.internal.default.app1.workflow"
    foreign = ["dapr.internal.default.other.workflow", "dapr.internal.x.app1.y", "dapr.internal.z"]
    named = ["U", own, *foreign, "dapr.internals"]
    world.parts.meet_app({"entities": named})
    assert world.parts.hosting.types == {"T", "U", own, "dapr.internals"}
    for name in foreign:
        assert f"actor type '{name}' is not hosted: names that begin with dapr.internal." in (
            caplog.text
        )


async def test_partitions_are_ignored_where_a_scheduler_keeps_reminders(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.begin()
    config = {"entities": ["U"], "remindersStoragePartitions": 1_000_000}
    world.parts.meet_app(config)
    assert world.parts.hosting.types == {"T"}
    assert "its /dapr/config is wrong: remindersStoragePartitions: expected" in caplog.text
    world.parts._scheduled = True
    world.parts.meet_app(config)
    assert world.parts.hosting.types == {"T", "U"}


async def test_actors_of_a_cluster_need_a_namespace(world: World) -> None:
    parts: Any = world.parts
    parts._options = replace(parts._options, mode="kubernetes")
    parts._security = object()
    world.context.identity.invocation_namespace = ""
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(FatalError, match="actors must have a namespace"):
            await parts.run(tasks)
