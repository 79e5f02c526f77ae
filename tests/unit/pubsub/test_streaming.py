"""One client's stream of events."""

from __future__ import annotations

import asyncio

import pytest

from dapr_sidecar.blocks.pubsub.event import Event
from dapr_sidecar.blocks.pubsub.streaming import Stream, StreamClosedError
from dapr_sidecar.resiliency.policy import LoadedPolicies


def event(name: str) -> Event:
    return Event("ps", "t", b"", {"id": name}, {})


async def test_an_attempt_that_is_given_up_does_not_stay_queued() -> None:
    stream = Stream()
    attempts = [asyncio.ensure_future(stream.send(event(name), "/")) for name in ("1", "2")]
    await asyncio.sleep(0)
    attempts[0].cancel()
    await asyncio.wait(attempts[:1])
    stream.close()
    assert [response.event_message.id async for response in stream.outgoing()] == ["2"]
    with pytest.raises(StreamClosedError):
        await attempts[1]


async def test_a_stream_that_ended_is_not_retried() -> None:
    stream = Stream()
    stream.close()
    runner = LoadedPolicies().builtin("DaprBuiltInInitializationRetries")
    attempts = 0

    async def send() -> None:
        nonlocal attempts
        attempts += 1
        await stream.send(event("1"), "/")

    with pytest.raises(StreamClosedError):
        await runner.run(send)
    assert attempts == 1
