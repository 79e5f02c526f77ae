"""A sidecar stops in its time, whatever its actors, its app and its store do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness.virtual_time import VirtualLoop
from unit.actors.hosting_world import ACTOR, World

from dapr_common.errors import DaprError
from dapr_sidecar.blocks.actors.base import ActorCall, ActorRef
from dapr_sidecar.blocks.actors.reminder import ReminderRequest
from dapr_sidecar.blocks.actors.state import Upsert
from dapr_sidecar.blocks.actors.timers import TimerRequest
from dapr_sidecar.components.state.base import Json
from dapr_sidecar.runtime.actor_stop import StopTimes, ended


@pytest.mark.parametrize(
    ("grace", "leave", "close"),
    [(5.0, 2.25, 1.25), (60.0, 3.0, 2.0), (None, 3.0, 2.0), (0.0, 0.0, 0.0)],
)
def test_actors_leave_the_others_some_of_the_time(
    grace: float | None, leave: float, close: float
) -> None:
    assert StopTimes.of(grace) == StopTimes(leave, close)


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


async def hanging() -> tuple[World, list[asyncio.Task[Any]]]:
    """Everything is under way and nothing ends: a turn, a write, a timer, reminders, the app."""
    world = World()
    await world.begin(drain_timeout=25.0)
    world.app.fire = world.app.deactivate = never  # type: ignore[method-assign]
    parts: Any = world.parts
    await parts.state._reminders.create(ReminderRequest(ActorRef("T", "r"), "r", "0s"))
    await parts.state._reminders.create(ReminderRequest(ActorRef("T", "l"), "later", "1h"))
    parts.state._timers.create(ActorRef("T", "t"), TimerRequest("t"))
    tasks = [asyncio.create_task(parts.router.invoke(ActorCall(ACTOR, "m")))]
    await world.app.entered.wait()
    component: Any = world.context.components.state["st"].component
    component.transact = never
    operations = [Upsert("k", Json(1))]
    tasks.append(asyncio.create_task(parts.state._state.transact(ACTOR, lambda: operations)))
    held = parts.state._owner.of("T")
    [later] = [s for some in held._scheduled.values() for s in some.values() if s.ref.id == "l"]
    held.finished(later)
    kind = parts.host._types["T"]
    while len(kind.running) < 3:  # the call, the timer, the reminder
        await asyncio.sleep(0.01)
    return world, tasks


def test_everything_ends_in_time_in_virtual_time() -> None:
    async def scenario() -> None:
        loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
        world, tasks = await hanging()
        began = loop.time()
        await world.parts.stop()
        await world.parts.close()
        assert loop.time() - began < 3.5 + 0.1
        assert all(task.done() for task in tasks)
        call, write = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(call, DaprError)
        assert "leaves this sidecar" in str(call)
        assert isinstance(write, DaprError)
        assert "left this sidecar before the store answered" in str(write)
        assert asyncio.all_tasks() == before, "nothing is left behind"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


def test_a_turn_that_ends_in_time_is_not_cut_in_virtual_time() -> None:
    async def scenario() -> None:
        world = World()
        await world.begin(drain_timeout=25.0)
        call = asyncio.create_task(world.parts.router.invoke(ActorCall(ACTOR, "m")))
        await world.app.entered.wait()
        asyncio.get_running_loop().call_later(2.0, world.app.go_on.set)
        await world.parts.stop()
        assert (await call).status == 200
        await world.parts.close()
        assert world.app.gone == ["1"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


def test_a_task_that_tidies_up_for_ever_is_cut_short_in_virtual_time() -> None:
    async def scenario() -> None:
        async def tidies_up() -> None:
            try:
                await never()
            finally:
                await never()

        task = asyncio.create_task(tidies_up())
        await asyncio.sleep(0)
        await ended(task, 1.0)
        assert task.cancelled()
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
