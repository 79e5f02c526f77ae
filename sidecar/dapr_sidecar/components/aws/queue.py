"""One SQS queue: find or make it, send, and read it as a consumer's session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.aws.client import AwsError, AwsJsonClient
from dapr_sidecar.components.aws.credentials import CredentialsError
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.consuming.calls import first_ended
from dapr_sidecar.components.consuming.receiver import Delivery
from dapr_sidecar.components.web import WebError

_LOG = get_logger("dapr.contrib.aws.sqs")
_CALL_SECONDS = 40.0
_MAX_BATCH = 10
_PAUSE = 1.0
_CLOSE_SECONDS = 5.0

T = TypeVar("T")


def sqs_client(settings: AwsSettings) -> AwsJsonClient:
    """The service. Raises ``SettingsError``."""
    return AwsJsonClient(settings, "sqs", "AmazonSQS", "1.0", _CALL_SECONDS)


async def queue_url(client: AwsJsonClient, name: str) -> str | None:
    """Where a queue is; ``None`` when there is none."""
    try:
        found = await client.call("GetQueueUrl", {"QueueName": name})
    except AwsError as error:
        if "QueueDoesNotExist" in error.code or "NonExistentQueue" in error.code:
            return None
        raise
    return str(found["QueueUrl"])


async def ensure_queue(
    client: AwsJsonClient, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
) -> str:
    """Its URL; it is made when it is not there. One that is there keeps its attributes."""
    if (url := await queue_url(client, name)) is not None:
        return url
    request = {"QueueName": name, "Attributes": dict(attributes), "tags": dict(tags)}
    return str((await client.call("CreateQueue", request))["QueueUrl"])


async def queue_attributes(client: AwsJsonClient, url: str, *names: str) -> dict[str, str]:
    """Those that the queue has of the attributes named."""
    request = {"QueueUrl": url, "AttributeNames": list(names)}
    found = await client.call("GetQueueAttributes", request)
    return dict(found.get("Attributes") or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """How a queue is read; times in seconds."""

    url: str
    visibility: int
    wait: int
    batch: int = _MAX_BATCH
    attempts: int = 0
    """A message that failed so often is deleted; 0: never."""


class SqsSession:
    """Polls. What this process holds stays hidden from others; the rest is shown at the end."""

    def __init__(
        self,
        client: AwsJsonClient,
        reading: QueueReading,
        convert: Callable[[Mapping[str, Any]], T],
        put: Callable[[Delivery[T]], None],
        room: Callable[[], Awaitable[int]],
    ) -> None:
        """``convert`` makes what the handler gets from a message of the service's protocol."""
        self._client = client
        self._reading = reading
        self._convert = convert
        self._put: Callable[[Delivery[Any]], None] = put
        self._room = room
        self._held: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to poll."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._poll()), loop.create_task(self._renew())]

    async def ended(self) -> None:
        # Polling goes on whatever the service answers: what ends it is an answer that is none.
        await first_ended(self._tasks)

    async def stop(self) -> None:
        task = self._tasks[0]
        task.cancel()
        await asyncio.wait((task,))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        held, self._held = list(self._held), set()
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._show(held, 0)

    async def _poll(self) -> None:
        reading = self._reading
        while True:
            count = min(await self._room(), reading.batch, _MAX_BATCH)
            request = {
                "QueueUrl": reading.url,
                "MaxNumberOfMessages": max(count, 1),
                "VisibilityTimeout": reading.visibility,
                "WaitTimeSeconds": reading.wait,
                "AttributeNames": ["ApproximateReceiveCount"],
                "MessageAttributeNames": ["All"],
            }
            try:
                found = await self._client.call("ReceiveMessage", request)
            except (AwsError, WebError, CredentialsError) as error:
                _LOG.warning("reading %s failed: %s", reading.url, error)
                await asyncio.sleep(_PAUSE)
                continue
            for message in found.get("Messages") or ():
                self._take(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        receipt = str(message["ReceiptHandle"])
        attempts = int((message.get("Attributes") or {}).get("ApproximateReceiveCount", 1))
        self._held.add(receipt)

        async def accept() -> None:
            self._held.discard(receipt)
            request = {"QueueUrl": self._reading.url, "ReceiptHandle": receipt}
            await self._client.call("DeleteMessage", request)

        async def refuse() -> None:
            if self._reading.attempts and attempts >= self._reading.attempts:
                _LOG.error("a message is given up after %d deliveries", attempts)
                await accept()
            else:
                self._held.discard(receipt)  # it is shown again when its time is over

        self._put(Delivery(self._convert(message), accept, refuse))

    async def _renew(self) -> None:
        visibility = self._reading.visibility
        while True:
            await asyncio.sleep(max(visibility / 3, 0.3))
            try:
                await self._show(list(self._held), visibility)
            except (AwsError, WebError, CredentialsError) as error:
                _LOG.warning("messages could not be kept: %s", error)

    async def _show(self, receipts: list[str], seconds: int) -> None:
        for at in range(0, len(receipts), _MAX_BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for n, receipt in enumerate(receipts[at : at + _MAX_BATCH])
            ]
            request = {"QueueUrl": self._reading.url, "Entries": entries}
            await self._client.call("ChangeMessageVisibilityBatch", request)


def json_or_none(text: str) -> dict[str, Any] | None:
    """An object in JSON; ``None`` for anything else."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
