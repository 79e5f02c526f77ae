"""Batches made of single deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dapr_sidecar.components.pubsub.base import BulkMessage, Message
from dapr_sidecar.components.pubsub.batching import Batcher


async def test_a_batch_ends_when_nobody_waits_for_it() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: Sequence[BulkMessage]) -> Mapping[str, Exception]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    batcher = Batcher(handler, 2, 60)
    deliveries = [asyncio.ensure_future(batcher.handle(Message("t", b""))) for _ in range(2)]
    await started.wait()
    deliveries[0].cancel()
    await asyncio.wait(deliveries[:1])
    assert not ended.is_set()
    deliveries[1].cancel()
    async with asyncio.timeout(20):
        await ended.wait()
        await batcher.close()
