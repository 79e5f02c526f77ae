"""The broker in the process."""

from __future__ import annotations

import asyncio

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.pubsub.base import Message, PublishRequest
from dapr_sidecar.components.pubsub.memory import InMemoryPubSub, InMemorySettings


async def test_closing_that_takes_too_long_ends_what_runs() -> None:
    broker = InMemoryPubSub(InMemorySettings(), ComponentContext("ps", "app"))
    started, ended = asyncio.Event(), asyncio.Event()

    async def hang(_: Message) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    subscription = await broker.subscribe("t", {}, hang)
    await broker.publish(PublishRequest("t", b""))
    await started.wait()
    closing = asyncio.ensure_future(subscription.close())
    await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(20):
        await ended.wait()
