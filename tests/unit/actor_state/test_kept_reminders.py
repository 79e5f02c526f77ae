"""What a reminder that waits for its time takes: memory, and neither a task nor a timer."""

from __future__ import annotations

import asyncio
import tracemalloc

from harness.block_api import loaded, make
from harness.stand_in_actors import ActorSide, Assignment

from dapr_sidecar.components.state.memory import InMemoryStateStore

_COUNT = 500
_MOST_BYTES = 3000


async def remind(side: ActorSide, kind: str, first: int) -> None:
    for number in range(first, first + _COUNT):
        target = f"/v1.0/actors/T/{number}/{kind}/r"
        body = {"dueTime": f"{number + 1}h", "data": {"number": number}}
        assert (await side.http.call("POST", target, body)).status == 204


async def test_reminders_and_timers_that_wait_are_small() -> None:
    store = loaded("st", make(InMemoryStateStore), actorStateStore="true")
    side = ActorSide("a", Assignment(lambda _: "a"), store, {})
    await side.load()
    await remind(side, "reminders", 0)  # spreads, and whatever else happens once
    writer = side.owner.of("T").editor.writer
    try:
        for kind in ("reminders", "timers"):
            tasks = len(asyncio.all_tasks())
            writer._cache.clear()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            await remind(side, kind, _COUNT)
            writer._cache.clear()
            each = (tracemalloc.get_traced_memory()[0] - before) / _COUNT
            tracemalloc.stop()
            assert each < _MOST_BYTES, kind
            assert len(asyncio.all_tasks()) <= tasks + 1  # at most the writer, for all of them
    finally:
        tracemalloc.stop()
        await side.close()
