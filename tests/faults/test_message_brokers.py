"""A message broker is killed, its line stalls, connections die in silence.

What a broker took is delivered at least once, publishes end within their deadline with an error
that says where, and everything goes on by itself afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import aiokafka.client
import pytest
from harness.backends import Backend
from harness.message_systems import SLACK, SYSTEMS, Inbox, Publisher, System, via_proxy
from harness.proxy import Proxy, proxy

from dapr_sidecar.components.pubsub.base import Message, PublishRequest, PubSub

pytestmark = pytest.mark.slow
_BIG = bytes(256 << 10)


@pytest.fixture(scope="module", params=SYSTEMS, ids=lambda system: system.type)
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.param
    return found


@pytest.fixture(scope="module")
def server(system: System) -> Iterator[Backend]:
    with Backend(system.backend) as found:
        asyncio.run(system.prepare(found.address))
        yield found


@pytest.fixture
async def line(
    system: System, server: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Proxy]:
    for name, value in system.patches().items():
        monkeypatch.setattr(name, value)
    async with proxy(server.port) as found:
        led = via_proxy(server, lambda: found.port, aiokafka.client.create_conn)
        monkeypatch.setattr("aiokafka.client.create_conn", led)
        yield found


@pytest.fixture
async def component(system: System, line: Proxy) -> AsyncIterator[PubSub]:
    found = system.component(line.port, group=f"g{time.monotonic_ns()}")
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def topic(system: System) -> str:
    return system.topic()


def tells(error: Exception, line: Proxy, server: Backend) -> bool:
    """Whether a user learns what to look at."""
    return str(line.port) in str(error) or str(server.port) in str(error)


async def test_killed_and_started_again(
    system: System, server: Backend, line: Proxy, component: PubSub, topic: str
) -> None:
    if system.backend in ("aws", "pubsub"):
        pytest.skip("the emulator forgets its topics and queues, as the service never does")
    inbox = Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    publisher = Publisher(component, topic)
    await publisher.more(20)
    before = len(publisher.taken)
    server.kill()
    line.refuse()
    error = await publisher.refused(system.publish_seconds + SLACK)
    assert tells(error, line, server), f"{error!r} says not where"
    await asyncio.to_thread(server.restart)
    await line.start()
    await publisher.more(20)
    await publisher.stop()
    assert publisher.longest < system.publish_seconds + SLACK
    kept = publisher.taken if system.keeps_data else publisher.taken[before + 5 :]
    await inbox.has(set(kept))
    await subscription.close()


async def test_a_line_that_forwards_nothing(
    system: System, server: Backend, line: Proxy, component: PubSub, topic: str
) -> None:
    inbox = Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    publisher = Publisher(component, topic)
    await publisher.more(10)
    line.hold()
    started = time.monotonic()
    many = [component.publish(PublishRequest(topic, b"held %d" % n, {})) for n in range(20)]
    outcomes = await asyncio.gather(*many, component.ping(), return_exceptions=True)
    assert time.monotonic() - started < system.publish_seconds + SLACK
    for outcome in outcomes:
        assert isinstance(outcome, Exception), f"{outcome!r} while nothing was forwarded"
        assert str(outcome).strip(), f"{outcome!r} has no words"
    assert any(tells(one, line, server) for one in outcomes if isinstance(one, Exception))
    line.release()
    await publisher.more(20)
    await component.ping()
    await publisher.stop()
    assert publisher.longest < system.publish_seconds + SLACK
    await inbox.has(set(publisher.taken))
    await subscription.close()


async def test_connections_that_die_in_silence(
    system: System, line: Proxy, component: PubSub, topic: str
) -> None:
    """Buffers are full of what nobody acknowledges, and still a new connection is made."""
    if system.backend == "servicebus":
        pytest.skip("its library relies on the kernel's keep-alive, which this proxy answers")
    inbox = Inbox()
    subscription = await component.subscribe(topic, {}, inbox)
    publisher = Publisher(component, topic)
    await publisher.more(10)
    line.lose()
    before = line.accepted
    if system.notices_loss:
        big = [component.publish(PublishRequest(topic, _BIG, {})) for _ in range(40)]
        await asyncio.gather(*big, return_exceptions=True)
    await publisher.more(20)
    await publisher.stop()
    assert line.accepted > before
    await inbox.has(set(publisher.taken))
    await subscription.close()


async def test_closed_during_an_outage(system: System, line: Proxy, topic: str) -> None:
    """It ends within seconds, the delivery that runs is waited for, and no task is left."""
    others = asyncio.all_tasks()
    component = system.component(line.port, group=f"g{time.monotonic_ns()}")
    await component.open()
    gate, running = asyncio.Event(), asyncio.Event()

    async def slow(message: Message) -> None:
        running.set()
        await gate.wait()

    subscription = await component.subscribe(topic, {}, slow)
    await component.publish(PublishRequest(topic, b"1", {}))
    await asyncio.wait_for(running.wait(), 30)
    line.hold()
    late = asyncio.ensure_future(component.publish(PublishRequest(topic, b"2", {})))
    await asyncio.sleep(0.1)
    closing = asyncio.ensure_future(subscription.close())
    await asyncio.sleep(0.1)
    assert not closing.done()
    gate.set()
    started = time.monotonic()
    await closing
    await component.close()
    assert time.monotonic() - started < 12 + SLACK
    with contextlib.suppress(Exception):
        await asyncio.wait_for(late, system.publish_seconds + SLACK)
    await nothing_left(others)


async def nothing_left(others: set[asyncio.Task[object]], seconds: float = 15.0) -> None:
    """Wait for tasks that end by themselves; the proxy's are the test's own."""
    until = time.monotonic() + seconds
    while True:
        left = [one for one in asyncio.all_tasks() - others if "Proxy" not in repr(one)]
        left = [one for one in left if "_pump" not in repr(one)]
        if not left:
            return
        assert time.monotonic() < until, f"{len(left)} tasks are left: {left}"
        await asyncio.sleep(0.1)
