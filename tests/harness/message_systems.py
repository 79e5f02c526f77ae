"""Message brokers behind a proxy, and those who publish to them and read from them.

Deadlines and heartbeats that no manifest can set are shortened by name (``constants``): tests wait
for what happens, not for how long.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nats
from harness.backends import Backend
from harness.block_api import make

from dapr_sidecar.components.base import Component
from dapr_sidecar.components.pubsub.base import Message, PublishRequest, PubSub
from dapr_sidecar.components.registry import component_class

_COMPONENTS = "dapr_sidecar.components."
SLACK = 6.0
"""Seconds that other work of the machine may add."""


async def _nothing(address: str) -> None:
    """What is needed is made by the component."""


async def _stream(address: str) -> None:
    client = await nats.connect(f"nats://{address}")
    await client.jetstream().add_stream(name="orders", subjects=["orders.>"])
    await client.close()


@dataclass(frozen=True)
class System:
    """One type of component, and the server it speaks to through a proxy at ``{port}``.

    ``{group}`` stands for the consumer group, ``{member}`` for one member of it.
    """

    type: str
    backend: str
    metadata: Mapping[str, str]
    topic_prefix: str = ""
    publish_seconds: float = 4.0
    """The deadline of one publish in these tests."""
    constants: Mapping[str, object] = field(default_factory=dict)
    keeps_data: bool = True
    """What was taken outlives a server that is killed."""
    notices_loss: bool = True
    """A connection that died in silence is replaced after its heartbeats, not by each call."""
    prepare: Callable[[str], Awaitable[None]] = _nothing

    def component(self, port: int, group: str = "g", member: str = "m", **more: str) -> PubSub:
        """One, not opened yet."""
        words = {"port": str(port), "group": group, "member": f"{group}-{member}"}
        texts = dict(self.metadata)
        for word, value in words.items():
            texts = {name: text.replace("{" + word + "}", value) for name, text in texts.items()}
        kind: type[Component] = component_class(self.type, "v1")
        made: PubSub = make(kind, **{**texts, **more})
        return made

    def topic(self) -> str:
        """One that no other test uses."""
        return f"{self.topic_prefix}topic-{uuid.uuid4().hex[:8]}"

    def patches(self) -> dict[str, object]:
        """Names of constants, with what they are in these tests."""
        return {_COMPONENTS + name: value for name, value in self.constants.items()}


RABBITMQ = System(
    "pubsub.rabbitmq",
    "rabbitmq",
    {
        "connectionString": "amqp://guest:guest@127.0.0.1:{port}",
        "consumerID": "{group}",
        "deletedWhenUnused": "false",
        "requeueInFailure": "true",
        "deliveryMode": "2",
        "reconnectWaitSeconds": "500ms",
        "heartBeat": "1s",
    },
    constants={
        "rabbitmq.publisher._PUBLISH_SECONDS": 4.0,
        "rabbitmq.connection._CONNECT_SECONDS": 4.0,
    },
)
JETSTREAM = System(
    "pubsub.jetstream",
    "nats",
    {
        "natsURL": "nats://127.0.0.1:{port}",
        "streamName": "orders",
        "durableName": "{group}",
        "queueGroupName": "{group}",
        "concurrency": "parallel",
        "ackWait": "2s",
    },
    topic_prefix="orders.",
    constants={
        "pubsub.jetstream._PUBLISH_SECONDS": 4.0,
        "pubsub.jetstream._PING_INTERVAL": 1,
        "pubsub.jetstream_connection._LOOK_SECONDS": 0.5,
    },
    prepare=_stream,
)
KAFKA = System(
    "pubsub.kafka",
    "kafka",
    {
        "brokers": "127.0.0.1:{port}",
        "authType": "none",
        "consumerGroup": "{group}",
        "sessionTimeout": "6s",
        "heartbeatInterval": "1s",
        "readTimeout": "2s",
    },
    publish_seconds=12.0,
)
MQTT = System(
    "pubsub.mqtt3",
    "mosquitto",
    {"url": "mqtt://127.0.0.1:{port}", "consumerID": "{member}"},
    constants={
        "mqtt.connection._CALL_SECONDS": 4.0,
        "mqtt.connection._CONNECT_SECONDS": 4.0,
        "mqtt.connection._KEEPALIVE_SECONDS": 2,
    },
    keeps_data=False,
)
SNS_SQS = System(
    "pubsub.aws.snssqs",
    "aws",
    {
        "endpoint": "http://127.0.0.1:{port}",
        "region": "us-east-1",
        "accessKey": "a",
        "secretKey": "s",
        "consumerID": "{group}",
        "messageVisibilityTimeout": "2",
        "messageWaitTimeSeconds": "1",
        "assetsManagementTimeoutSeconds": "10",
    },
    constants={"pubsub.snssqs._PUBLISH_SECONDS": 4.0, "aws.queue._CALL_SECONDS": 6.0},
    keeps_data=False,
    notices_loss=False,
)
SERVICE_BUS = System(
    "pubsub.azure.servicebus.queues",
    "servicebus",
    {
        "connectionString": "Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=a;"
        "SharedAccessKey=b;UseDevelopmentEmulator=true;",
        "disableEntityManagement": "true",
        "timeoutInSec": "4",
        "minConnectionRecoveryInSec": "500ms",
    },
    keeps_data=False,
    notices_loss=False,
)
GOOGLE = System(
    "pubsub.gcp.pubsub",
    "pubsub",
    {
        "endpoint": "127.0.0.1:{port}",
        "projectID": "faults",
        "consumerID": "{group}",
        "ackDeadline": "10s",
    },
    publish_seconds=10.0,  # the emulator is slow at first
    constants={"pubsub.gcp_client._CALL_SECONDS": 10.0, "pubsub.gcp_client._PULL_SECONDS": 6.0},
    keeps_data=False,
    notices_loss=False,
)
SYSTEMS = [RABBITMQ, JETSTREAM, KAFKA, MQTT, SNS_SQS, SERVICE_BUS, GOOGLE]


class Inbox:
    """What came."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.got: set[bytes] = set()

    async def __call__(self, message: Message) -> None:
        await asyncio.sleep(self._seconds)
        self.got.add(message.data)

    async def has(self, wanted: set[bytes], seconds: float = 60.0) -> None:
        """Wait until all of it came."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted <= self.got:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            missing = sorted(wanted - self.got)
            raise AssertionError(f"{len(missing)} were lost, such as {missing[:5]}") from None


class Publisher:
    """Publishes one after the other; keeps what was taken, what was not, and how long each took."""

    def __init__(self, component: PubSub, topic: str) -> None:
        self._component = component
        self._topic = topic
        self._number = 0
        self._stopped = False
        self.taken: list[bytes] = []
        self.errors: list[Exception] = []
        self.longest = 0.0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._stopped:
            self._number += 1
            data, started = b"%d" % self._number, time.monotonic()
            try:
                await self._component.publish(PublishRequest(self._topic, data, {}))
            except Exception as error:  # noqa: BLE001 - whatever it was, the broker did not take it
                self.errors.append(error)
            else:
                self.taken.append(data)
            self.longest = max(self.longest, time.monotonic() - started)
            await asyncio.sleep(0.02)

    async def more(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many more were taken."""
        wanted = len(self.taken) + count
        async with asyncio.timeout(seconds):
            while len(self.taken) < wanted:
                await asyncio.sleep(0.02)

    async def refused(self, seconds: float) -> Exception:
        """Wait until one more was not taken."""
        wanted = len(self.errors) + 1
        async with asyncio.timeout(seconds):
            while len(self.errors) < wanted:
                await asyncio.sleep(0.02)
        return self.errors[-1]

    async def stop(self) -> None:
        """Finish the one under way."""
        self._stopped = True
        await self._task


def via_proxy(server: Backend, port: Callable[[], int], create: Any) -> Any:
    """Kafka's clients go where the broker says that it is: this leads them through the proxy."""

    async def connect(host: str, wanted: int, **options: Any) -> Any:
        return await create(host, port() if wanted == server.port else wanted, **options)

    return connect
