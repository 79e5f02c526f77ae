"""A lease, its holders and a store that is slow, fails, and does late what it was asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from harness.virtual_time import VirtualLoop

from dapr_common.lease import Lease, Pace, Record, ReplacedError, StoreError

PACE = Pace(life=10.0, renew=1.0, give_up=6.0)


class Store:
    """One record. ``trouble`` says of each request how it goes: seconds until it is done, seconds
    until the answer, and whether there is one.
    """

    def __init__(self, trouble: Callable[[], tuple[float, float, bool]]) -> None:
        self.record = Record()
        self.writes = 0
        self._trouble = trouble

    async def read(self) -> Record:
        before, after, answered = self._trouble()
        await asyncio.sleep(before)
        found = self.record
        await asyncio.sleep(after)
        if not answered:
            raise StoreError("no answer to the question")
        return found

    async def write(self, record: Record) -> Record:
        before, after, answered = self._trouble()
        # What has left is done, also when whoever asked waits no longer.
        done = asyncio.get_running_loop().create_task(self._write(record, before))
        written = await asyncio.shield(done)
        await asyncio.sleep(after)
        if not answered:
            raise StoreError("no answer to the order")
        if written is None:
            raise ReplacedError("replaced")
        return written

    async def _write(self, record: Record, seconds: float) -> Record | None:
        await asyncio.sleep(seconds)
        if record.version != self.record.version:
            return None
        self.writes += 1
        self.record = replace(record, version=str(self.writes))
        return self.record


class Contender:
    def __init__(self, loop: VirtualLoop, store: Store, name: str) -> None:
        self.lease = Lease(store, "contender", address=name, pace=PACE, clock=loop.time)
        self.terms: list[float] = []
        self.leading = False

    async def lead(self) -> None:
        self.terms.append(asyncio.get_running_loop().time())
        self.leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.leading = False


def well() -> tuple[float, float, bool]:
    return 0.01, 0.01, True


async def _leading(contender: Contender) -> None:
    async with asyncio.timeout(60):
        while not contender.leading:
            await asyncio.sleep(0.1)


def test_the_next_one_leads_soon_after_an_orderly_end() -> None:
    async def main() -> None:
        store = Store(well)
        first, second = Contender(loop, store, "first"), Contender(loop, store, "second")
        one = asyncio.create_task(first.lease.run(first.lead))
        await _leading(first)
        two = asyncio.create_task(second.lease.run(second.lead))
        await asyncio.sleep(100)
        assert first.lease.is_held()
        assert not second.leading
        began = loop.time()
        one.cancel()
        await _leading(second)
        assert loop.time() - began < 1.5
        assert not first.lease.is_held()
        two.cancel()
        await asyncio.wait({one, two})
        assert store.record.holder == ""

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


def test_after_a_crash_the_next_one_waits_for_the_life_of_the_lease() -> None:
    async def main() -> None:
        store = Store(well)
        first, second = Contender(loop, store, "first"), Contender(loop, store, "second")
        one = asyncio.create_task(first.lease.run(first.lead))
        await _leading(first)
        two = asyncio.create_task(second.lease.run(second.lead))
        await asyncio.sleep(5)
        store.record = replace(store.record, version="unknown to the first")
        began = loop.time()
        store.record = replace(store.record, holder="somebody who has crashed")
        while first.leading:
            await asyncio.sleep(0.1)
        while not (first.leading or second.leading):
            await asyncio.sleep(0.1)
        assert PACE.life < loop.time() - began < PACE.life + 2.5
        for task in (one, two):
            task.cancel()
        await asyncio.wait({one, two})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


def test_a_holder_that_stood_still_does_not_go_on() -> None:
    async def main() -> None:
        store = Store(well)
        first = Contender(loop, store, "first")
        task = asyncio.create_task(first.lease.run(first.lead))
        await _leading(first)
        loop.stand_still(PACE.give_up + 0.1)
        assert first.leading, "nothing has run yet that could have ended it"
        assert not first.lease.is_held()
        await asyncio.sleep(5)
        assert first.lease.is_held()
        assert len(first.terms) == 2, "it has begun anew"
        task.cancel()
        await asyncio.wait({task})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


def test_whoever_cannot_renew_stops_before_others_may() -> None:
    async def main() -> None:
        answers = True
        store = Store(lambda: (0.01, 0.01, answers))
        first = Contender(loop, store, "first")
        task = asyncio.create_task(first.lease.run(first.lead))
        await _leading(first)
        answers, began = False, loop.time()
        while first.leading:
            await asyncio.sleep(0.05)
        assert PACE.give_up - PACE.renew < loop.time() - began <= PACE.give_up + 0.1
        answers = True
        await _leading(first)
        task.cancel()
        await asyncio.wait({task})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


def test_what_counts_is_when_it_was_written_not_when_the_answer_came() -> None:
    """Others count from the write."""

    async def main() -> None:
        late = iter([(0.0, 4.0, True)])
        store = Store(lambda: next(late, (1000.0, 0.0, True)) if leads.leading else well())
        leads = Contender(loop, store, "first")
        task = asyncio.create_task(leads.lease.run(leads.lead))
        await _leading(leads)
        while store.writes < 2:
            await asyncio.sleep(0.05)
        written = loop.time()
        while leads.leading:
            await asyncio.sleep(0.05)
        assert loop.time() - written <= PACE.give_up + 0.1
        task.cancel()
        await asyncio.wait({task})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


def test_a_write_without_an_answer_that_was_done_is_no_loss() -> None:
    async def main() -> None:
        answered = iter([True] * 6 + [True, False] + [True] * 100)  # the write of a renewal
        store = Store(lambda: (0.01, 0.01, next(answered)))
        first = Contender(loop, store, "first")
        task = asyncio.create_task(first.lease.run(first.lead))
        await asyncio.sleep(30)
        assert len(first.terms) == 1
        assert first.lease.is_held()
        task.cancel()
        await asyncio.wait({task})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("seed", range(100))
def test_at_no_moment_two_may_lead(seed: int) -> None:
    chance = random.Random(seed)
    seconds = (0.0, 0.01, 0.01, 0.5, 2.0, 5.0, 9.0)
    trouble = [
        (chance.choice(seconds), chance.choice(seconds), chance.random() < 0.7)
        for _ in range(chance.randrange(150))
    ]
    loop = VirtualLoop()
    store = Store(lambda: trouble.pop() if trouble else well())
    contenders = [Contender(loop, store, str(number)) for number in range(3)]

    def check() -> None:
        assert sum(each.lease.is_held() for each in contenders) <= 1

    async def watch() -> None:
        while True:
            check()
            await asyncio.sleep(0.1)

    async def main() -> None:
        running = [asyncio.create_task(each.lease.run(each.lead)) for each in contenders]
        running.append(asyncio.create_task(watch()))
        while trouble:
            await asyncio.sleep(chance.uniform(0.5, 20))
            if chance.random() < 0.5:
                loop.stand_still(chance.uniform(0, 20))
                check()
        await asyncio.sleep(60)
        assert not any(task.done() for task in running), running
        assert sum(each.leading for each in contenders) == 1, "one leads once all is well"
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("address", ["somewhere", ""])
def test_everybody_is_told_where_the_leader_is(address: str) -> None:
    async def main() -> None:
        told: list[str] = []
        store = Store(well)
        store.record = Record(holder="other", life_seconds=10.0, address="elsewhere", version="1")
        lease = Lease(
            store, "one", address=address, changed=told.append, pace=PACE, clock=loop.time
        )
        task = asyncio.create_task(lease.run(asyncio.Event().wait))  # type: ignore[arg-type]
        await asyncio.sleep(5)
        assert told == ["elsewhere"]
        await asyncio.sleep(10)
        assert told == ["elsewhere", address]
        task.cancel()
        await asyncio.wait({task})

    loop = VirtualLoop()
    loop.run_until_complete(main())
    loop.close()
