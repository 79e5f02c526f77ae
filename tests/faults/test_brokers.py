"""Processes and brokers die in the middle of it; what was acknowledged is delivered."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.block_api import make
from harness.component_table import until
from harness.redis_server import DurableRedis, RedisServer

from dapr_sidecar.components.pubsub.base import Message, PublishRequest, PubSub
from dapr_sidecar.components.pubsub.redis import RedisPubSub
from dapr_sidecar.components.pubsub.sqlite import SqlitePubSub

CHILD = Path(__file__).with_name("broker_child.py")


@dataclass
class Broker:
    kind: type[PubSub]
    type_name: str
    properties: dict[str, str]

    async def component(self) -> PubSub:
        found: PubSub = make(self.kind, **self.properties)
        await found.open()
        return found


@pytest.fixture(params=["pubsub.redis", "pubsub.sqlite"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Broker:
    properties = {"consumerID": "g", "processingTimeout": "1s"}
    if request.param == "pubsub.sqlite":
        properties |= {"connectionString": str(tmp_path / "bus.db"), "leaseDuration": "1s"}
        return Broker(SqlitePubSub, request.param, properties)
    server: RedisServer = request.getfixturevalue("server")
    server.call("FLUSHALL")
    properties |= {"redisHost": server.address, "redeliverInterval": "200ms"}
    return Broker(RedisPubSub, request.param, properties)


class Child:
    """A process that was started to be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._reader = asyncio.ensure_future(self._read())
        self.said: list[tuple[str, str]] = []

    @classmethod
    async def start(cls, what: str, broker: Broker, topic: str) -> Child:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(CHILD),
                what,
                broker.type_name,
                json.dumps(broker.properties),
                topic,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            word, _, data = line.rstrip("\n").partition(" ")
            self.said.append((word, data))

    def words(self, word: str) -> list[bytes]:
        return [data.encode() for said, data in self.said if said == word]

    async def kill(self) -> None:
        """SIGKILL: nothing is flushed, closed or said good-bye to."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self._reader


Start = Callable[[str, Broker, str], "asyncio.Future[Child]"]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    children: list[Child] = []

    async def begin(what: str, broker: Broker, topic: str) -> Child:
        children.append(await Child.start(what, broker, topic))
        return children[-1]

    yield begin  # type: ignore[misc]
    for child in children:
        await child.kill()


class Inbox:
    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        self.got.append(message.data)


async def test_a_consumer_is_killed_in_the_middle_of_deliveries(
    broker: Broker, start: Start
) -> None:
    child = await start("consume", broker, "t")
    await until(lambda: child.words("ready"))
    publisher = await broker.component()
    sent = [b"%d" % n for n in range(200)]
    for data in sent:
        await publisher.publish(PublishRequest("t", data, {}))
    await until(lambda: len(child.words("done")) >= 20)
    await child.kill()
    done, started = set(child.words("done")), set(child.words("start"))
    assert started - done  # some were under way
    inbox = Inbox()
    subscription = await publisher.subscribe("t", {}, inbox)
    await until(lambda: set(inbox.got) | done >= set(sent))
    await subscription.close()
    assert started - done <= set(inbox.got)
    # What was done but not acknowledged before the end comes twice; never all of it.
    assert len(set(inbox.got) & done) < len(done)
    await publisher.close()


async def test_a_second_consumer_takes_over_while_it_runs(broker: Broker, start: Start) -> None:
    first = await start("consume", broker, "t")
    await until(lambda: first.words("ready"))
    publisher, inbox = await broker.component(), Inbox()
    subscription = await publisher.subscribe("t", {}, inbox)
    sent = {b"%d" % n for n in range(100)}
    for data in sorted(sent):
        await publisher.publish(PublishRequest("t", data, {}))
    await until(lambda: len(set(first.words("done")) | set(inbox.got)) > 80)
    await first.kill()
    await until(lambda: set(first.words("done")) | set(inbox.got) == sent)
    await subscription.close()
    await publisher.close()


async def test_a_publisher_is_killed(broker: Broker, start: Start) -> None:
    # Nobody who holds a message dies here: however late this process gets its turn, none is given
    # to it twice.
    broker.properties |= {"processingTimeout": "60s"}
    if broker.kind is SqlitePubSub:
        broker.properties |= {"leaseDuration": "60s"}
    child = await start("publish", broker, "t")
    await until(lambda: len(child.words("acknowledged")) >= 100)
    await child.kill()
    acknowledged = child.words("acknowledged")
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe("t", {}, inbox)
    await until(lambda: set(inbox.got) >= set(acknowledged))
    await subscription.close()
    assert len(inbox.got) <= len(acknowledged) + 1 + 1  # the one under way, and its line
    await component.close()


async def test_all_processes_are_killed_and_start_again(broker: Broker, start: Start) -> None:
    publisher = await start("publish", broker, "t")
    consumers = [await start("consume", broker, "t") for _ in range(2)]
    await until(lambda: all(len(one.words("done")) >= 10 for one in consumers))
    for child in (*consumers, publisher):
        await child.kill()
    done = {data for one in consumers for data in one.words("done")}
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe("t", {}, inbox)
    await until(lambda: done | set(inbox.got) >= set(publisher.words("acknowledged")))
    await subscription.close()
    await component.close()


# --- the broker itself ------------------------------------------------------------------------


def redis_broker(redis: DurableRedis) -> Broker:
    properties = {
        "redisHost": redis.server.address,
        "consumerID": "g",
        "processingTimeout": "1s",
        "redeliverInterval": "200ms",
        "readTimeout": "1s",
    }
    return Broker(RedisPubSub, "pubsub.redis", properties)


async def publish_all(component: PubSub, sent: list[bytes]) -> None:
    """Publish each until it is acknowledged."""
    for data in sent:
        while True:
            try:
                await component.publish(PublishRequest("t", data, {}))
                break
            except Exception:  # noqa: BLE001 - whatever it says while the broker is away
                await asyncio.sleep(0.02)


async def test_redis_is_killed_and_starts_again(durable_redis: DurableRedis) -> None:
    broker = redis_broker(durable_redis)
    publisher, consumer = await broker.component(), await broker.component()
    inbox = Inbox()

    async def take(message: Message) -> None:
        await asyncio.sleep(0.005)
        await inbox(message)

    subscription = await consumer.subscribe("t", {}, take)
    sent = [b"%d" % n for n in range(400)]
    publishing = asyncio.ensure_future(publish_all(publisher, sent))
    for reached in (50, 150):
        await until(lambda reached=reached: len(inbox.got) >= reached)
        durable_redis.kill()
        await asyncio.sleep(0.1)
        durable_redis.start()
    await publishing
    await until(lambda: set(inbox.got) == set(sent))
    server = durable_redis.server
    await until(lambda: server.call("XPENDING", "t", "g").startswith("0"))
    await subscription.close()
    await publisher.close()
    await consumer.close()


async def test_a_redis_that_forgets_everything_is_used_again(
    forgetful_redis: DurableRedis,
) -> None:
    broker = redis_broker(forgetful_redis)
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe("t", {}, inbox)
    await publish_all(component, [b"before"])
    await until(lambda: inbox.got == [b"before"])
    forgetful_redis.kill()
    forgetful_redis.start()
    await publish_all(component, [b"after"])
    await until(lambda: b"after" in inbox.got)
    await subscription.close()
    await component.close()
