from __future__ import annotations

import asyncio

from dapr_common.observe.health import Readiness


async def test_everything_named_must_be_ready() -> None:
    readiness = Readiness(["a", "b"])
    waiting = asyncio.ensure_future(readiness.wait())
    readiness.ready("b")
    await asyncio.sleep(0)
    assert not waiting.done()
    assert readiness.missing() == ["a"]
    readiness.ready("a")
    await waiting
    assert readiness.is_ready


def test_a_target_may_come_late_and_fall_back() -> None:
    readiness = Readiness()
    assert readiness.is_ready
    readiness.add("app")
    assert not readiness.is_ready
    readiness.ready("app")
    readiness.add("app")
    assert readiness.is_ready
    readiness.unready("app")
    assert readiness.missing() == ["app"]
