"""Shared workers: a lane that is cut off takes nothing from the others."""

from __future__ import annotations

import asyncio

from dapr_sidecar.components.consuming.workers import Lane, Workers


async def test_a_cancelled_lane_leaves_workers_for_the_others() -> None:
    workers = Workers(2)
    stuck, served = asyncio.Event(), asyncio.Event()

    async def hang(_: int) -> None:
        stuck.set()
        await asyncio.Event().wait()

    async def serve(item: int) -> None:
        if item == 9:
            served.set()

    first, second = Lane(workers, hang, 10), Lane(workers, serve, 10)
    for item in range(2):
        first.put(item)
    for item in range(10):
        second.put(item)
    await stuck.wait()
    closing = asyncio.ensure_future(first.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    async with asyncio.timeout(20):
        await served.wait()
        await second.close()
