"""The client library of Kafka gives itself up for an error that it did not expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness.backends import Backend
from harness.message_systems import KAFKA, Inbox

from dapr_sidecar.components.pubsub.base import PublishRequest, PubSub

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Backend]:
    with Backend(KAFKA.backend) as found:
        yield found


@pytest.fixture
async def component(server: Backend) -> AsyncIterator[PubSub]:
    found = KAFKA.component(server.port, group=f"g{time.monotonic_ns()}")
    await found.open()
    yield found
    await found.close()


async def break_down(*_: object) -> Any:
    """What the library has no answer to."""
    raise RuntimeError("never expected")


async def test_a_member_that_was_given_up_is_replaced(
    component: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, inbox = KAFKA.topic(), Inbox()
    subscription: Any = await component.subscribe(topic, {}, inbox)
    await component.publish(PublishRequest(topic, b"before", {}))
    await inbox.has({b"before"})
    member = subscription._consumer
    with monkeypatch.context() as patch:
        patch.setattr(member._coordinator, "ensure_coordinator_known", break_down)
        member._coordinator.request_rejoin()
        async with asyncio.timeout(20):
            while not member._coordinator._coordination_task.done():
                await asyncio.sleep(0.02)
    await component.publish(PublishRequest(topic, b"after", {}))
    await inbox.has({b"after"})
    assert subscription._consumer is not member
    await subscription.close()


async def test_a_producer_that_was_given_up_is_replaced(
    component: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = KAFKA.topic()
    await component.publish(PublishRequest(topic, b"before", {}))
    given_up = component._producer._producer
    with monkeypatch.context() as patch:
        accumulator = given_up._message_accumulator
        patch.setattr(type(accumulator), "drain_by_nodes", _raise)
        with pytest.raises(Exception, match=r"never expected|batch delivery"):
            await component.publish(PublishRequest(topic, b"lost", {}))
    await component.publish(PublishRequest(topic, b"after", {}))
    assert component._producer._producer is not given_up


def _raise(*_: object, **__: object) -> Any:
    raise RuntimeError("never expected")
