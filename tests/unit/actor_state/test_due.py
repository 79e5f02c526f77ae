"""The heap of what is due, and what runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.due import DueHeap, DueRunner, steady_clock


@dataclass(eq=False)
class Item:
    name: str = ""
    ref: ActorRef = field(default_factory=lambda: ActorRef("T", "1"))
    ticket: int = 0


@given(st.lists(st.tuples(st.sampled_from("pprm"), st.integers(0, 9), st.integers(0, 50))))
def test_the_heap_gives_back_each_item_once_and_in_order(steps: list[tuple[str, int, int]]) -> None:
    heap: DueHeap[Item] = DueHeap()
    items = [Item(str(number)) for number in range(10)]
    expected: dict[str, float] = {}
    for step, number, when in steps:
        item = items[number]
        if step == "r":
            heap.remove(item)
            expected.pop(item.name, None)
        else:
            heap.put(item, when)
            expected[item.name] = when
    popped = []
    while (found := heap.pop(1000.0)) is not None:
        popped.append(found.name)
    assert sorted(popped) == sorted(expected)
    assert [expected[name] for name in popped] == sorted(expected.values())


def test_entries_of_removed_items_do_not_pile_up() -> None:
    heap: DueHeap[Item] = DueHeap()
    item = Item()
    for _ in range(10_000):
        heap.put(item, 1e9)
    assert len(heap._entries) < 300


async def test_items_run_when_they_are_due() -> None:
    ran: asyncio.Queue[str] = asyncio.Queue()

    async def fire(item: Item) -> None:
        ran.put_nowait(item.name)

    runner = DueRunner(fire, steady_clock(), 10)
    now = runner.clock()
    later, sooner = Item("later", ActorRef("T", "1")), Item("sooner", ActorRef("T", "2"))
    runner.put(later, now + 0.05)
    runner.put(sooner, now + 0.01)
    assert [await ran.get(), await ran.get()] == ["sooner", "later"]
    assert runner.clock() >= now + 0.05
    await runner.close(1)


async def test_no_more_run_at_a_time_than_allowed_and_of_one_actor_only_one() -> None:
    running: set[ActorRef] = set()
    most = 0
    done: asyncio.Queue[str] = asyncio.Queue()

    async def fire(item: Item) -> None:
        nonlocal most
        assert item.ref not in running
        running.add(item.ref)
        most = max(most, len(running))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.discard(item.ref)
        done.put_nowait(item.name)

    runner = DueRunner(fire, steady_clock(), 3)
    for number in range(40):
        runner.put(Item(str(number), ActorRef("T", str(number % 8))), 0)
    names = [await done.get() for _ in range(40)]
    assert len(set(names)) == 40
    assert most == 3
    await runner.close(1)


async def test_a_slow_actor_takes_no_room_from_others() -> None:
    release = asyncio.Event()
    done: asyncio.Queue[str] = asyncio.Queue()

    async def fire(item: Item) -> None:
        if item.ref.id == "slow":
            await release.wait()
        done.put_nowait(item.name)

    runner = DueRunner(fire, steady_clock(), 2)
    for number in range(50):
        runner.put(Item(f"slow {number}", ActorRef("T", "slow")), 0)
    runner.put(Item("quick", ActorRef("T", "quick")), 1)
    assert await done.get() == "quick"
    release.set()
    assert [await done.get() for _ in range(50)] == [f"slow {n}" for n in range(50)]
    await runner.close(1)


async def test_a_removed_item_does_not_run_even_when_it_waits_for_its_actor() -> None:
    release, done = asyncio.Event(), asyncio.Event()
    ran = []

    async def fire(item: Item) -> None:
        ran.append(item.name)
        if item.name == "first":
            await release.wait()
        else:
            done.set()

    runner = DueRunner(fire, steady_clock(), 5)
    items = [Item("first"), Item("second"), Item("third")]
    for item in items:
        runner.put(item, 0)
    await asyncio.sleep(0.02)
    runner.remove(items[1])
    release.set()
    await done.wait()
    assert ran == ["first", "third"]
    await runner.close(1)


async def test_what_takes_too_long_is_cancelled_when_its_types_must_rest() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def fire(item: Item) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    runner = DueRunner(fire, steady_clock(), 5)
    runner.put(Item(), 0)
    await started.wait()
    await runner.quiesce(lambda item: item.ref.type == "other", 0)
    assert not cancelled.is_set()
    await runner.quiesce(lambda item: item.ref.type == "T", 0.01)
    assert cancelled.is_set()
    await runner.close(1)


async def test_a_defect_in_one_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def fire(item: Item) -> None:
        if item.name == "bad":
            raise RuntimeError("a defect")
        done.set()

    runner = DueRunner(fire, steady_clock(), 1)
    runner.put(Item("bad"), 0)
    runner.put(Item("good"), 0)
    await done.wait()
    assert "a defect" in caplog.text
    await runner.close(1)
