"""The lock of an actor: in order, reentrant, closed."""

from __future__ import annotations

import asyncio

import pytest

from dapr_sidecar.blocks.actors.turns import ActorClosedError, StackDepthError, TurnLock

MOST = 3


async def queued(lock: TurnLock, caller: str | None = None) -> asyncio.Task[None]:
    """A caller that waits for its turn."""
    task = asyncio.create_task(lock.wait(caller, MOST))
    await asyncio.sleep(0)
    return task


async def test_turns_come_in_order() -> None:
    lock = TurnLock()
    assert lock.try_enter(None, MOST)
    assert not lock.try_enter(None, MOST)
    first, second = await queued(lock), await queued(lock)
    lock.leave()
    await first
    assert not second.done()
    lock.leave()
    await second
    lock.leave()
    assert not lock.busy


async def test_who_left_the_queue_does_not_get_the_turn() -> None:
    lock = TurnLock()
    lock.try_enter(None, MOST)
    gone, stays = await queued(lock), await queued(lock)
    gone.cancel()
    await asyncio.wait([gone])
    lock.leave()
    await stays
    lock.leave()
    assert not lock.busy


async def test_a_turn_given_to_who_is_just_cancelled_goes_on_to_the_next() -> None:
    lock = TurnLock()
    lock.try_enter(None, MOST)
    unlucky, following = await queued(lock), await queued(lock)
    lock.leave()
    unlucky.cancel()
    await asyncio.wait([unlucky])
    await following
    lock.leave()
    assert not lock.busy


async def test_a_call_enters_the_turn_it_comes_from_up_to_a_depth() -> None:
    lock = TurnLock()
    assert lock.try_enter("a", MOST)
    assert lock.is_held_by("a")
    assert lock.try_enter("a", MOST)
    assert not lock.try_enter("b", MOST)
    assert lock.try_enter("a", MOST)
    with pytest.raises(StackDepthError):
        lock.try_enter("a", MOST)
    other = await queued(lock, "b")
    for _ in range(3):
        assert not other.done()
        lock.leave()
    await other
    assert lock.is_held_by("b")


async def test_calls_without_an_id_never_enter_one_another() -> None:
    lock = TurnLock()
    assert lock.try_enter(None, MOST)
    assert not lock.is_held_by(None)
    assert not lock.try_enter(None, MOST)


async def test_what_queued_with_one_id_enters_together() -> None:
    lock = TurnLock()
    lock.try_enter(None, MOST)
    waiting = [await queued(lock, name) for name in ("a", "b", "a", "a", "a")]
    lock.leave()
    _, pending = await asyncio.wait(waiting, timeout=0.05)
    assert pending == {waiting[1]}
    assert isinstance(waiting[4].exception(), StackDepthError)
    assert [task.exception() for task in (waiting[0], waiting[2], waiting[3])] == [None] * 3
    for _ in range(3):
        lock.leave()
    await waiting[1]


async def test_a_closed_actor_tells_those_who_wait() -> None:
    lock = TurnLock()
    lock.try_enter(None, MOST)
    waiting = await queued(lock)
    lock.close()
    with pytest.raises(ActorClosedError):
        await waiting
    with pytest.raises(ActorClosedError):
        lock.try_enter(None, MOST)
    lock.leave()
    assert not lock.busy
