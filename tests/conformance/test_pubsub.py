"""What every broker promises, run against each of them."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from harness.broker_preparations import PREPARATIONS
from harness.component_table import Maker
from harness.dead_transports import tolerate_dead_transports
from harness.stuck_subscriber import stuck_subscriber

from dapr_sidecar.components.pubsub.base import (
    BulkMessage,
    BulkPublishEntry,
    BulkSubscriber,
    Message,
    PublishRequest,
    PubSub,
)

pytestmark = pytest.mark.slow  # brokers in other processes, some of them heavy
KIND = "pubsub"
WAIT = 60.0  # a client library that settles one message in 0.2 s takes 20 s for a hundred
LONG = 60.0
_GATHER_SECONDS = 1.5  # of a batch: a busy machine may stand still for a while


class Broker:
    """Makes components of one type that share a broker."""

    def __init__(self, maker: Maker, topic: str) -> None:
        self.entry = maker.entry
        self.maker = maker
        self.topic = topic
        self.run = uuid.uuid4().hex[:8]
        """Part of group names where a server keeps them from one test to the next."""
        self._members: Counter[str] = Counter()

    def lacks(self, promise: str) -> bool:
        """Whether the broker does not promise what the others do."""
        return promise in self.entry.get("lacks", ())

    def require(self, promise: str) -> None:
        """Skip the test where the broker does not promise that."""
        if self.lacks(promise):
            pytest.skip(f"{self.entry['type']} does not promise: {promise}")

    def seen(self, data: Sequence[bytes]) -> list[bytes]:
        """What came, sorted; each once where the broker may deliver twice without a reason."""
        return sorted(set(data) if self.lacks("once") else data)

    def few(self, number: int) -> dict[str, str]:
        """Metadata that allows so many deliveries at once."""
        found = self.entry.get("single" if number == 1 else "few")
        if found is None:
            return {"concurrency": str(number), "queueDepth": str(number + 2)}
        return {name: value.replace("${few}", str(number)) for name, value in found.items()}

    def properties(self, group: str, more: Mapping[str, str]) -> dict[str, str]:
        """The manifest's metadata for a member of a group."""
        self._members[group] += 1
        name = f"{group}-{self.run}"
        self.maker.variables |= {
            "group": name,
            "member": f"{name}-{self._members[group]}",
            "topic": self.topic,
        }
        consumer = self.entry.get("metadata", {}).get("consumerID", group)
        return self.maker.properties({"consumerID": consumer, **more})

    async def component(self, group: str = "g", **more: str) -> PubSub:
        return cast(PubSub, await self.maker.component(**self.properties(group, more)))

    def left(self, group: str = "g") -> None:
        """The newest member of a group is gone; the next one takes its place."""
        self._members[group] -= 1

    def competing(self, topic: str, group: str = "g") -> str:
        """What members of one group subscribe to."""
        shared = str(self.entry.get("shared_topic", "${topic}"))
        return shared.replace("${topic}", topic).replace("${group}", f"{group}-{self.run}")


@pytest.fixture
async def broker(maker: Maker, topic: str) -> Broker:
    if prepare := PREPARATIONS.get(maker.entry["type"]):
        await prepare(maker)
    return Broker(maker, topic)


@pytest.fixture
def topic(maker: Maker) -> str:
    return f"{maker.entry.get('topic_prefix', '')}topic-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def durable(broker: Broker) -> None:
    if not broker.entry["durable"]:
        pytest.skip("keeps nothing")


class Inbox:
    """A handler that keeps what it gets and can be told to fail."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.running = 0
        self.most_running = 0
        self.gate: asyncio.Event | None = None
        self.failures: Counter[bytes] = Counter()
        self._changed = asyncio.Condition()

    async def __call__(self, message: Message) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.failures[message.data] > 0:
                self.failures[message.data] -= 1
                raise RuntimeError("not now")
            self.got.append(message)
        finally:
            self.running -= 1
            async with self._changed:
                self._changed.notify_all()

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.got]

    async def until(self, condition: Callable[[], bool], seconds: float = WAIT) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def count(self, number: int) -> None:
        await self.until(lambda: len(self.got) >= number)


async def send(broker: PubSub, topic: str, *payloads: bytes) -> None:
    for payload in payloads:
        await broker.publish(PublishRequest(topic, payload, {}))


async def test_bytes_and_metadata_arrive_as_they_were(broker: Broker, topic: str) -> None:
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    first, second = (b"\xc3\xbc", b"text") if broker.lacks("bytes") else (b"\x00\xff", b"")
    await component.publish(PublishRequest(topic, first, {"k": "v", "ü": "ä"}))
    await component.publish(PublishRequest(topic, second, None))
    await inbox.count(2)
    found = {message.data: message for message in inbox.got}
    assert found.keys() == {first, second}
    if not broker.lacks("metadata"):
        carried = found[first].metadata or {}
        assert {"k": "v", "ü": "ä"}.items() <= carried.items()
        assert "k" not in (found[second].metadata or {})
    assert {message.topic for message in inbox.got} == {topic}
    await subscription.close()


async def test_topics_are_apart(broker: Broker, topic: str) -> None:
    component, one, two = await broker.component(), Inbox(), Inbox()
    other = await broker.component("h") if broker.lacks("topics-of-one") else component
    first = await component.subscribe(topic, {}, one)
    second = await other.subscribe(topic + "-2", {}, two)
    await send(component, topic + "-2", b"2")
    await send(component, topic, b"1")
    await one.count(1)
    await two.count(1)
    assert (one.data, two.data) == ([b"1"], [b"2"])
    await first.close()
    await second.close()


async def test_every_group_gets_every_message(broker: Broker, topic: str) -> None:
    broker.require("groups")
    first, second = await broker.component("a"), await broker.component("b")
    one, two = Inbox(), Inbox()
    subscriptions = [
        await first.subscribe(topic, {}, one),
        await second.subscribe(topic, {}, two),
    ]
    payloads = [b"%d" % n for n in range(20)]
    await send(first, topic, *payloads)
    await one.count(20)
    await two.count(20)
    assert sorted(one.data) == sorted(two.data) == sorted(payloads)
    for subscription in subscriptions:
        await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_members_of_a_group_compete(broker: Broker, topic: str) -> None:
    first, second = await broker.component(), await broker.component()
    inbox = Inbox()
    subscriptions = [
        await first.subscribe(broker.competing(topic), {}, inbox),
        await second.subscribe(broker.competing(topic), {}, inbox),
    ]
    payloads = [b"%d" % n for n in range(broker.entry.get("many", 200))]
    await asyncio.gather(*(send(first, topic, payload) for payload in payloads))
    await inbox.until(lambda: set(payloads) <= set(inbox.data), LONG)
    for subscription in subscriptions:
        await subscription.close()
    assert broker.seen(inbox.data) == sorted(payloads)


@pytest.mark.usefixtures("durable")
async def test_a_failed_message_comes_again_and_holds_nobody_up(broker: Broker, topic: str) -> None:
    broker.require("redelivery")
    component, inbox = await broker.component(), Inbox()
    inbox.failures[b"bad"] = 2
    subscription = await component.subscribe(topic, {}, inbox)
    await send(component, topic, b"bad", b"1", b"2")
    await inbox.count(3)
    if broker.lacks("overtaking"):
        assert inbox.data == [b"bad", b"1", b"2"]
    else:
        assert sorted(inbox.data[:2]) == [b"1", b"2"]
        assert inbox.data[2] == b"bad"
    await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_more_failed_messages_than_the_queue_holds_hold_nobody_up(
    broker: Broker, topic: str
) -> None:
    broker.require("redelivery")
    component, inbox = await broker.component(**broker.few(2)), Inbox()
    bad = [b"bad%d" % n for n in range(20)]
    for payload in bad:
        inbox.failures[payload] = 1
    subscription = await component.subscribe(topic, {}, inbox)
    await send(component, topic, *bad, b"good")
    await inbox.until(lambda: b"good" in inbox.data)
    await inbox.count(21)
    assert sorted(inbox.data) == sorted([*bad, b"good"])
    await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_a_subscriber_that_is_down_misses_nothing(broker: Broker, topic: str) -> None:
    component, inbox = await broker.component(), Inbox()
    await (await component.subscribe(topic, {}, inbox)).close()
    await component.close()
    broker.left()
    await send(await broker.component("other"), topic, b"1", b"2")
    again = await broker.component()
    subscription = await again.subscribe(topic, {}, inbox)
    await inbox.count(2)
    assert sorted(inbox.data) == [b"1", b"2"]
    await subscription.close()


async def test_close_waits_for_the_delivery_that_runs(broker: Broker, topic: str) -> None:
    component, inbox = await broker.component(), Inbox()
    inbox.gate = asyncio.Event()
    subscription = await component.subscribe(topic, {}, inbox)
    await send(component, topic, b"1")
    async with asyncio.timeout(WAIT):
        while not inbox.running:
            await asyncio.sleep(0.01)
    closing = asyncio.ensure_future(subscription.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    inbox.gate.set()
    await closing
    assert inbox.data == [b"1"]
    await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_what_was_read_and_not_delivered_comes_again(broker: Broker, topic: str) -> None:
    component, inbox = await broker.component(**broker.few(1)), Inbox()
    inbox.gate = asyncio.Event()
    subscription = await component.subscribe(topic, {}, inbox)
    await send(component, topic, b"1", b"2", b"3")
    async with asyncio.timeout(WAIT):
        while not inbox.running:
            await asyncio.sleep(0.01)
    inbox.gate.set()
    await subscription.close()
    subscription = await component.subscribe(topic, {}, inbox)
    await inbox.until(lambda: set(inbox.data) == {b"1", b"2", b"3"})
    await subscription.close()
    assert len(broker.seen(inbox.data)) == 3


@pytest.mark.usefixtures("durable")
async def test_messages_of_a_dead_process_go_to_another(broker: Broker, topic: str) -> None:
    broker.require("dead-within-seconds")
    shared = broker.competing(topic)
    async with stuck_subscriber(broker.entry, broker.properties("g", {}), shared) as process:
        publisher, inbox = await broker.component("other"), Inbox()
        await send(publisher, topic, b"1")
        async with asyncio.timeout(WAIT):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"got 1\n"
        process.kill()
        await process.wait()
        if broker.lacks("takeover"):
            broker.left()
        alive = await broker.component()
        other = await alive.subscribe(shared, {}, inbox)
        await inbox.count(1)
        assert inbox.data == [b"1"]
        await other.close()


@pytest.mark.usefixtures("durable")
async def test_a_delivery_that_hangs_is_given_up_and_comes_again(
    broker: Broker, topic: str
) -> None:
    broker.require("processing-timeout")
    component = await broker.component(
        **broker.entry.get("timeout", {"processingTimeout": "200ms"})
    )
    seen: list[bytes] = []
    done = asyncio.Event()

    async def hang_once(message: Message) -> None:
        seen.append(message.data)
        if len(seen) == 1:
            await asyncio.Event().wait()
        done.set()

    subscription = await component.subscribe(topic, {}, hang_once)
    await send(component, topic, b"1")
    await asyncio.wait_for(done.wait(), WAIT)
    assert seen[:2] == [b"1", b"1"]
    await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_what_is_long_in_coming_is_not_given_to_another(broker: Broker, topic: str) -> None:
    """One member holds messages for longer than it takes to be thought dead."""
    first = await broker.component(**broker.few(1))
    starts: list[bytes] = []
    done = asyncio.Event()

    async def slow(message: Message) -> None:
        starts.append(message.data)
        await asyncio.sleep(1.0)  # the last of a member waits for longer than its lease
        if len(starts) == 6:
            done.set()

    payloads = [b"%d" % n for n in range(6)]
    await (await first.subscribe(topic, {}, slow)).close()  # from here on messages are kept for it
    await send(first, topic, *payloads)
    subscription = await first.subscribe(topic, {}, slow)
    await asyncio.sleep(0.2)  # it has read them all
    second = await broker.component(**broker.few(1))
    other = await second.subscribe(topic, {}, slow)
    await asyncio.wait_for(done.wait(), WAIT)
    await subscription.close()
    await other.close()
    assert broker.seen(starts) == payloads


@pytest.mark.usefixtures("durable")
async def test_deliveries_at_once_are_bounded(broker: Broker, topic: str) -> None:
    broker.require("side-by-side")
    component, inbox = await broker.component(**broker.few(3)), Inbox()
    inbox.gate = asyncio.Event()
    subscription = cast(Any, await component.subscribe(topic, {}, inbox))
    await send(component, topic, *(b"%d" % n for n in range(30)))
    async with asyncio.timeout(WAIT):
        while inbox.running < 3:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert inbox.running == 3
    lane = getattr(subscription, "_lane", None)
    assert lane is None or lane.count <= 5
    inbox.gate.set()
    await inbox.count(30)
    assert inbox.most_running == 3
    await subscription.close()


@pytest.mark.usefixtures("durable")
async def test_one_at_a_time_keeps_the_order(broker: Broker, topic: str) -> None:
    broker.require("order")
    component, inbox = await broker.component(**broker.few(1)), Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    payloads = [b"%03d" % n for n in range(100)]
    await send(component, topic, *payloads)
    await inbox.count(100)
    assert inbox.data == payloads
    await subscription.close()


async def test_bulk_publish(broker: Broker, topic: str) -> None:
    broker.require("bulk")
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    entries = [BulkPublishEntry(str(n), b"%d" % n, "text/plain", {"n": "1"}) for n in range(120)]
    assert await component.bulk_publish(topic, entries, {}) == {}
    sent = sorted(entry.data for entry in entries)
    await inbox.until(lambda: set(sent) <= set(inbox.data), LONG)
    assert broker.seen(inbox.data) == sent
    await subscription.close()


async def test_batches(broker: Broker, topic: str) -> None:
    if not broker.entry.get("native_bulk"):
        pytest.skip("delivers one by one")
    component = await broker.component(**broker.entry.get("bulk", {}))
    assert isinstance(component, BulkSubscriber)
    batches: list[list[bytes]] = []
    done = asyncio.Event()
    fail = {b"7"}

    async def take(messages: Sequence[BulkMessage]) -> Mapping[str, Exception]:
        batches.append([one.message.data for one in messages])
        failed = {one.entry_id: RuntimeError("no") for one in messages if one.message.data in fail}
        fail.clear()
        if sum(map(len, batches)) >= 41:
            done.set()
        return failed

    await (await component.bulk_subscribe(topic, {}, 20, _GATHER_SECONDS, take)).close()
    # All are there before the first batch is gathered: its time does not run out half full.
    await send(component, topic, *(b"%d" % n for n in range(40)))
    subscription = await component.bulk_subscribe(topic, {}, 20, _GATHER_SECONDS, take)
    await asyncio.wait_for(done.wait(), WAIT)
    await subscription.close()
    assert max(map(len, batches)) == 20
    counts = Counter(data for batch in batches for data in batch)
    assert counts.pop(b"7") == 2
    assert set(counts.values()) == {1}
    assert len(counts) == 39


async def test_nothing_comes_after_close(broker: Broker, topic: str) -> None:
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    await subscription.close()
    await send(component, topic, b"1")
    await asyncio.sleep(0.1)
    assert inbox.got == []


# --- faults -----------------------------------------------------------------------------------


class Publisher:
    """Publishes one number after the other; keeps those that the broker took."""

    def __init__(self, component: PubSub, topic: str) -> None:
        self._component = component
        self._topic = topic
        self.taken: list[bytes] = []
        self.refused = 0
        self._stopped = False
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        number = 0
        while not self._stopped:
            number += 1
            try:
                async with asyncio.timeout(WAIT):
                    await send(self._component, self._topic, b"%d" % number)
            except Exception:  # noqa: BLE001 - whatever it was, the broker did not take it
                self.refused += 1
                await asyncio.sleep(0.1)
            else:
                self.taken.append(b"%d" % number)
                await asyncio.sleep(0.02)

    async def more(self, count: int) -> None:
        """Wait until so many more were taken."""
        wanted = len(self.taken) + count
        async with asyncio.timeout(LONG):
            while len(self.taken) < wanted:
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._stopped = True
        await self._task


@pytest.mark.usefixtures("durable")
@pytest.mark.usefixtures("collect_dead_transports")
@tolerate_dead_transports
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_what_the_broker_took_is_delivered_after_it_was(
    broker: Broker, topic: str, fault: str
) -> None:
    if "backend" not in broker.entry:
        pytest.skip("tested on its own")
    if fault == "killed":
        broker.require("survives")
    server = broker.maker.services.backend(broker.entry["backend"])
    component, inbox = await broker.component(), Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    publisher = Publisher(component, topic)
    await publisher.more(20)
    loop = asyncio.get_running_loop()
    if fault == "killed":
        # RabbitMQ 3 says that a queue is bound before that has reached the disk, and later gives no
        # sign of it. Killed within that moment it forgets the binding and confirms what it then
        # drops, until the subscriber has come back.
        await asyncio.sleep(broker.entry.get("settle_seconds", 0))
        server.kill()
        await loop.run_in_executor(None, server.restart)
    else:
        server.freeze()
        await asyncio.sleep(3.0)
        server.thaw()
    await publisher.more(20)
    await publisher.stop()
    async with asyncio.timeout(LONG):
        while not set(publisher.taken) <= set(inbox.data):
            await asyncio.sleep(0.05)
    await subscription.close()
