"""The reading of an SQS queue fails within this process: it is noticed, and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from harness.backends import Backend

from dapr_sidecar.components.aws.client import AwsJsonClient
from dapr_sidecar.components.aws.queue import QueueReading, SqsSession, sqs_client
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session

pytestmark = pytest.mark.slow
_SOON = 20.0


@pytest.fixture
async def client() -> AsyncIterator[AwsJsonClient]:
    with Backend("aws") as server:
        found = sqs_client(
            AwsSettings(
                endpoint=f"http://{server.address}",
                region="us-east-1",
                access_key="a",
                secret_key="s",
            )
        )
        yield found
        await found.close()


async def test_a_message_that_cannot_be_read_does_not_end_the_reading(
    client: AwsJsonClient, caplog: pytest.LogCaptureFixture
) -> None:
    url = (await client.call("CreateQueue", {"QueueName": "q"}))["QueueUrl"]
    reading = QueueReading(url=url, visibility=1, wait=1)
    got: asyncio.Queue[str] = asyncio.Queue()
    failures = [ValueError("of no use")]

    def convert(raw: Mapping[str, Any]) -> str:
        if failures:
            raise failures.pop()
        return str(raw["Body"])

    async def opener(put: Callable[[Delivery[str]], None]) -> Session:
        session = SqsSession(client, reading, convert, put, receiver.room)
        session.start()
        return session

    receiver: Receiver[str] = Receiver(
        "queue q", opener, got.put, concurrency=1, limit=10, pause=0.1
    )
    await receiver.start()
    await client.call("SendMessage", {"QueueUrl": url, "MessageBody": "1"})
    assert await asyncio.wait_for(got.get(), _SOON) == "1"
    assert "queue q: of no use; connecting again" in caplog.text
    await receiver.close()
