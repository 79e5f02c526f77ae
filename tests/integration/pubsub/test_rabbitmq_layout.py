"""What a Go sidecar finds on a RabbitMQ broker that ours used before it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from harness.backends import Backends
from pamqp.common import FieldTable

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.pubsub.base import Message, PublishRequest
from dapr_sidecar.components.pubsub.rabbitmq import RabbitMqPubSub
from dapr_sidecar.components.pubsub.rabbitmq_settings import RabbitMqSettings

WAIT = 15.0


@pytest.fixture
def address(backends: Backends) -> str:
    return f"amqp://guest:guest@{backends.shared('rabbitmq').address}"


@pytest.fixture
async def channel(address: str) -> AsyncIterator[AbstractChannel]:
    connection = await aiormq.connect(address)
    yield await connection.channel()
    await connection.close()


async def opened(address: str, **metadata: str) -> RabbitMqPubSub:
    given = {"connectionString": address, "consumerID": "g", **metadata}
    made = RabbitMqPubSub(decode_settings(RabbitMqSettings, given), ComponentContext("c", "app"))
    await made.open()
    return made


async def got(channel: AbstractChannel, queue: str) -> aiormq.abc.DeliveredMessage:
    async with asyncio.timeout(WAIT):
        while True:
            found = await channel.basic_get(queue, no_ack=True)
            if found.delivery.name == "Basic.GetOk":
                return found
            await asyncio.sleep(0.05)


async def test_exchange_queue_and_properties(address: str, channel: AbstractChannel) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    component = await opened(address, deletedWhenUnused="false", maxLen="100")

    async def nothing(message: Message) -> None: ...

    await (await component.subscribe(topic, {}, nothing)).close()
    # Declared again as Go declares them: RabbitMQ refuses what is not equal.
    await channel.exchange_declare(topic, exchange_type="fanout", durable=True)
    queue = f"g-{topic}"
    arguments: FieldTable = {"x-queue-type": "classic", "x-max-length": 100}
    await channel.queue_declare(queue, durable=True, arguments=arguments)
    metadata = {"ttlInSeconds": "60", "priority": "3", "correlationID": "c", "type": "t"}
    await component.publish(PublishRequest(topic, b"x", metadata))
    properties = (await got(channel, queue)).header.properties
    assert properties.content_type == "text/plain"
    assert (properties.expiration, properties.priority) == ("60000", 3)
    assert (properties.correlation_id, properties.message_type) == ("c", "t")
    assert not properties.headers
    await component.close()


async def test_dead_letters(address: str, channel: AbstractChannel) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    component = await opened(address, enableDeadLetter="true")

    async def fail(message: Message) -> None:
        raise RuntimeError("no")

    subscription = await component.subscribe(topic, {}, fail)
    await component.publish(PublishRequest(topic, b"dead", {}))
    assert (await got(channel, f"dlq-g-{topic}")).body == b"dead"
    await subscription.close()
    await component.close()


async def test_a_message_expires(address: str) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    component = await opened(address, deletedWhenUnused="false")
    came: list[bytes] = []
    done = asyncio.Event()

    async def keep(message: Message) -> None:
        came.append(message.data)
        done.set()

    await (await component.subscribe(topic, {}, keep)).close()
    await component.publish(PublishRequest(topic, b"old", {"ttlInSeconds": "1"}))
    await component.publish(PublishRequest(topic, b"lasting", {}))
    await asyncio.sleep(1.5)
    subscription = await component.subscribe(topic, {}, keep)
    await asyncio.wait_for(done.wait(), WAIT)
    assert came == [b"lasting"]
    await subscription.close()
    await component.close()
