"""An app that is too slow for what waits at the broker: the sidecar's memory stays bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness.backends import Backend
from harness.component_table import until
from harness.local_app import LocalApp, Seen
from harness.message_systems import JETSTREAM, KAFKA, MQTT, RABBITMQ, System
from harness.programs import free_port
from harness.sidecar import Sidecar, component

from dapr_sidecar.components.pubsub.base import BulkPublishEntry, Message, PublishRequest

pytestmark = pytest.mark.slow
_COUNT = 6000
_PADDING = "x" * (16 << 10)
_MOST_GROWTH_MB = 64  # of nearly 100 MB that wait
_DRAINED = 500
_PATIENT = {"pubsub.kafka": {"readTimeout": "30s"}}


def memory_mb(process: int, name: str) -> float:
    """``VmRSS``, what it has now, or ``VmHWM``, the most it ever had."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)


@pytest.fixture(params=[RABBITMQ, JETSTREAM, KAFKA], ids=lambda system: system.type)
async def system(request: pytest.FixtureRequest) -> System:
    found: System = request.param
    return found


@pytest.fixture
async def server(system: System) -> AsyncIterator[Backend]:
    async with Backend(system.backend) as found:
        await system.prepare(found.address)
        yield found


async def fill(system: System, server: Backend, topic: str) -> None:
    """Messages wait for a group that subscribed and is not there."""
    publisher = system.component(server.port, **_PATIENT.get(system.type, {}))
    await publisher.open()

    async def nobody(message: Message) -> None:
        """Nothing comes yet."""

    await (await publisher.subscribe(topic, {}, nobody)).close()
    entries = [BulkPublishEntry(str(n), event(n), "application/json") for n in range(_COUNT)]
    for at in range(0, _COUNT, 1000):
        assert await publisher.bulk_publish(topic, entries[at : at + 1000], {}) == {}
    await publisher.close()


def event(number: int) -> bytes:
    words = {"specversion": "1.0", "id": str(number), "source": "s", "type": "t"}
    return json.dumps({**words, "data": _PADDING}).encode()


async def test_a_slow_app_and_a_full_queue(system: System, server: Backend) -> None:
    topic = system.topic()
    await fill(system, server, topic)
    texts = {
        name: text.replace("{port}", str(server.port)).replace("{group}", "g")
        for name, text in {**system.metadata, **_PATIENT.get(system.type, {})}.items()
    }
    gate, got, at_once = asyncio.Event(), set[str](), 0

    async def take(seen: Seen) -> int:
        nonlocal at_once
        if not gate.is_set():
            at_once += 1
            await gate.wait()
        got.add(str(seen.json["id"]))
        return 200

    port = free_port()
    routes = {
        "GET /dapr/subscribe": (200, [{"pubsubname": "ps", "topic": topic, "route": "/t"}]),
        "POST /t": take,
    }
    sidecar = Sidecar(
        "g",
        resources=[component("ps", system.type, **texts)],
        app_port=port,
        flags=["--log-level=error"],
        ready="healthz/outbound",
    )
    async with sidecar:
        before = memory_mb(sidecar.process.pid, "VmRSS")
        async with LocalApp(routes, port=port) as app:
            await until(lambda: at_once, 60)
            running = -1
            while running != at_once:  # it has all that it will take
                running = at_once
                await asyncio.sleep(2.0)
            assert running <= 1000
            growth = memory_mb(sidecar.process.pid, "VmHWM") - before
            assert growth < _MOST_GROWTH_MB, f"{growth:.0f} MB more, {running} at once"
            gate.set()
            app.seen.clear()
            await until(lambda: len(got) >= _DRAINED, 90)
            growth = memory_mb(sidecar.process.pid, "VmHWM") - before
            assert growth < _MOST_GROWTH_MB, f"{growth:.0f} MB more at the end"


async def test_messages_that_mqtt_does_not_keep_are_dropped_behind_a_slow_app() -> None:
    async with Backend(MQTT.backend) as server:
        component_ = MQTT.component(server.port, qos="0")
        await component_.open()
        gate, came, ends = asyncio.Event(), 0, 0

        async def slow(message: Message) -> None:
            nonlocal came
            await gate.wait()
            came += 1

        async def last(message: Message) -> None:
            nonlocal ends
            ends += 1

        subscription = await component_.subscribe("t", {}, slow)
        end = await component_.subscribe("end", {}, last)
        for n in range(5000):
            await component_.publish(PublishRequest("t", b"%d" % n, {}))
        await component_.publish(PublishRequest("end", b"", {}))
        await until(lambda: ends == 1, 30)  # a broker keeps the order of what it sends
        gate.set()
        await until(lambda: came >= 2000, 30)
        await component_.publish(PublishRequest("t", b"there is room again", {}))
        await component_.publish(PublishRequest("end", b"", {}))
        await until(lambda: ends == 2 and came > 2000, 30)
        await subscription.close()
        await end.close()
        assert came == 2001
        await component_.close()
