"""An app and a Redis that fail in patterns, a real sidecar between: what reaches them, and when.

Counts and order are exact. No call comes earlier than the policy says; how much later it may come
is what a busy machine needs.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from harness.http_call import Answer, acall
from harness.local_app import LocalApp, Seen
from harness.placement_process import Placement
from harness.proxy import Proxy, proxy
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, Sidecar, component, resource

pytestmark = pytest.mark.slow
HANG = 0
WAIT, TIMEOUT, OPEN = 0.25, 1.0, 2.0
_EARLY, _LATE = 0.03, 5.0
POLICIES = {
    "timeouts": {"t": f"{TIMEOUT * 1000:g}ms"},
    "retries": {
        "thrice": {"policy": "constant", "duration": f"{WAIT * 1000:g}ms", "maxRetries": 3},
        "endless": {"policy": "constant", "duration": f"{WAIT * 1000:g}ms"},
    },
    "circuitBreakers": {"b": {"trip": "consecutiveFailures >= 3", "timeout": f"{OPEN:g}s"}},
}
RETRIES = {"timeout": "t", "retry": "thrice"}
TARGETS = {
    # An app id with its namespace is a target of its own.
    "apps": {"me": RETRIES, "me.default": {"circuitBreaker": "b"}},
    "actors": {"T": RETRIES},
    "components": {
        "events": {"inbound": RETRIES},
        "storm": {"inbound": {"retry": "endless", "circuitBreaker": "b"}},
        "tick": {"inbound": RETRIES},
        "ledger": {"outbound": RETRIES},
        "fused": {"outbound": {"timeout": "t", "circuitBreaker": "b"}},
        "store": {"outbound": {"retry": "endless"}},
    },
}


class Scripted:
    """A route that answers in turn as it is told, the last answer for ever; ``HANG`` is none."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.moments: list[float] = []
        self.seen: list[Seen] = []
        self._made = time.monotonic()
        self._forever = asyncio.Event()

    async def __call__(self, seen: Seen) -> tuple[int, object]:
        self.moments.append(time.monotonic())
        self.seen.append(seen)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == HANG:
            await self._forever.wait()
        return answer, {"call": len(self.seen)}

    async def wait(self, count: int, seconds: float = 40.0) -> None:
        async with asyncio.timeout(seconds):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)

    def has_pauses(self, *least: float) -> None:
        """Between the calls there were, and there were no others.

        A call may have been on its way for a while, so the least is counted from the beginning.
        """
        found = [moment - self._made for moment in self.moments]
        assert len(found) == len(least) + 1, found
        total = 0.0
        for one, two, wanted in zip(found, found[1:], least, strict=False):
            total += wanted
            assert two >= total - _EARLY, (found, least)
            assert two - one <= wanted + _LATE, (found, least)


@dataclass
class World:
    sidecar: Sidecar
    app: LocalApp
    redis: RedisServer
    line: Proxy

    async def call(self, method: str, path: str, body: object = b"body") -> Answer:
        return await acall(self.sidecar.http_port, method, path, body)

    def script(self, route: str, *answers: int) -> Scripted:
        made = self.app.routes[route] = Scripted(*answers)
        return made


def resources(redis: str, line: str) -> list[Manifest]:
    again = {"processingTimeout": "1s", "redeliverInterval": "1s"}
    behind = {"redisHost": line, "readTimeout": "60s"}
    return [
        component("events", "pubsub.redis", redisHost=redis),
        component("storm", "pubsub.redis", redisHost=redis, **again),
        component("tick", "bindings.cron", schedule="@every 4s", direction="input"),
        component("ledger", "bindings.redis", **behind),
        component("fused", "bindings.redis", **behind),
        component("store", "state.redis", redisHost=line),
        component("actors", "state.in-memory", actorStateStore=True),
        resource("Resiliency", "patterns", {"policies": POLICIES, "targets": TARGETS}),
    ]


def subscriptions() -> Sequence[dict[str, str]]:
    return [
        {"pubsubname": name, "topic": name, "route": f"/{name}"} for name in ("events", "storm")
    ]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    routes = {
        "GET /dapr/config": (200, {"entities": ["T"]}),
        "GET /dapr/subscribe": (200, subscriptions()),
        "POST /tick": Scripted(500, HANG, 200),
    }
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        line = await stack.enter_async_context(proxy(redis.port))
        app = await stack.enter_async_context(LocalApp(routes))
        placement = await stack.enter_async_context(Placement())
        sidecar = Sidecar(
            "me",
            resources=resources(redis.address, line.address),
            app_port=app.port,
            flags=[f"--placement-host-address={placement.address}"],
        )
        await stack.enter_async_context(sidecar)
        yield World(sidecar, app, redis, line)


async def test_what_reaches_the_app(world: World) -> None:
    """One after the other in one sidecar, which is slow to start."""
    await calls_of(world, "POST", "/v1.0/invoke/me/method/x", "POST /x")
    await calls_of(world, "POST", "/v1.0/actors/T/1/method/x", "PUT /actors/T/1/method/x")
    await an_app_s_breaker(world)
    await deliveries(world)
    await a_delivery_s_breaker(world)
    await an_input_binding(world)


async def calls_of(world: World, method: str, path: str, route: str) -> None:
    """Invocation, and actors."""
    script = world.script(route, 500, HANG, 503, 200)
    answer = await world.call(method, path)
    assert (answer.status, answer.json) == (200, {"call": 4})
    script.has_pauses(WAIT, TIMEOUT + WAIT, WAIT)
    assert {seen.body for seen in script.seen} == {b"body"}
    script = world.script(route, 500)
    assert (await world.call(method, path)).status == 500
    script.has_pauses(WAIT, WAIT, WAIT)
    script = world.script(route, 500, HANG)
    answer = await world.call(method, path)
    assert answer.status == 500
    assert b"context deadline exceeded" in answer.body
    script.has_pauses(WAIT, *[TIMEOUT + WAIT] * 2)


async def an_app_s_breaker(world: World) -> None:
    async def call(method: str = "b") -> Answer:
        return await world.call("POST", f"/v1.0/invoke/me.default/method/{method}")

    async def next_probe(count: int) -> Answer:
        """Call until a call reaches the app: what came of that."""
        while True:
            answer = await call()
            if len(script.seen) == count:
                return answer
            assert b"circuit breaker is open" in answer.body
            await asyncio.sleep(0.05)

    script = world.script("POST /b", 500, 500, 500, 500, 200)
    world.script("POST /other", 200)
    for number in (1, 2, 3):
        assert (await call()).json == {"call": number}
    assert b"circuit breaker is open" in (await call()).body
    assert (await call("other")).status == 200  # each method has its own
    assert (await next_probe(4)).json == {"call": 4}
    assert b"circuit breaker is open" in (await call()).body
    assert (await next_probe(5)).status == 200
    assert [(await call()).status for _ in range(3)] == [200] * 3
    assert len(script.seen) == 8
    third, fourth, fifth = script.moments[2:5]
    assert OPEN - _EARLY <= fourth - third <= OPEN + _LATE
    assert OPEN - _EARLY <= fifth - fourth <= OPEN + _LATE


async def deliveries(world: World) -> None:
    script = world.script("POST /events", 500, HANG, 200)
    for number in (1, 2):
        assert (await world.call("POST", "/v1.0/publish/events/events", number)).status == 204
        await script.wait(2 + number)
    assert [seen.json["data"] for seen in script.seen] == [1, 1, 1, 2]
    assert len({seen.json["id"] for seen in script.seen}) == 2
    script.moments.pop()
    script.has_pauses(WAIT, TIMEOUT + WAIT)


async def a_delivery_s_breaker(world: World) -> None:
    """The retries end with the open breaker; the broker keeps the event and brings it again."""
    script = world.script("POST /storm", 500, 500, 500, 500, 200)
    assert (await world.call("POST", "/v1.0/publish/storm/storm", 1)).status == 204
    await script.wait(5)
    assert {seen.json["data"] for seen in script.seen} == {1}
    pauses = [two - one for one, two in zip(script.moments, script.moments[1:], strict=False)]
    assert len(pauses) == 4
    assert min(pauses[:2]) >= WAIT - _EARLY
    assert min(pauses[2:]) >= OPEN - _EARLY  # a probe, and another one
    told = re.compile(r"Circuit breaker \S*storm\S* changed state from (\S+) to ([\w-]+)")
    found = await asyncio.to_thread(world.sidecar.wait_lines, told.search, 5)
    lines = [match.groups() for line in found if (match := told.search(line))]
    assert lines == [
        *[("closed", "open"), ("open", "half-open")],
        *[("half-open", "open"), ("open", "half-open")],
        ("half-open", "closed"),
    ]


async def an_input_binding(world: World) -> None:
    """It has been delivering since the start."""
    script = world.app.routes["POST /tick"]
    assert isinstance(script, Scripted)
    await script.wait(4)
    events = [seen.headers["readtimeutc"] for seen in script.seen]
    assert len(set(events[:3])) == 1
    assert events[3] != events[2]
    del script.moments[3:]
    script.has_pauses(WAIT, TIMEOUT + WAIT)


def increment(key: str) -> dict[str, Any]:
    return {"operation": "increment", "metadata": {"key": key}}


async def test_what_reaches_redis(world: World) -> None:
    await a_silent_redis(world)
    await a_breaker_before_a_silent_redis(world)
    await a_redis_that_is_away_for_a_while(world)


async def a_silent_redis(world: World) -> None:
    world.line.hold()
    started = time.monotonic()
    answer = await world.call("POST", "/v1.0/bindings/ledger", increment("n"))
    took = time.monotonic() - started
    world.line.release()
    assert answer.status == 500
    assert b"context deadline exceeded" in answer.body
    assert 4 * TIMEOUT + 3 * WAIT - _EARLY <= took <= 4 * TIMEOUT + 3 * WAIT + _LATE
    # Each attempt was sent, and no call is lost between those that were given up.
    answer = await world.call("POST", "/v1.0/bindings/ledger", increment("n"))
    assert answer.status in (200, 204)
    assert world.redis.call("GET", "n") == "5"


async def a_breaker_before_a_silent_redis(world: World) -> None:
    async def call() -> Answer:
        return await world.call("POST", "/v1.0/bindings/fused", increment("m"))

    world.line.hold()
    for _ in range(3):
        opening = time.monotonic() + TIMEOUT
        assert b"context deadline exceeded" in (await call()).body
    assert b"circuit breaker is open" in (await call()).body
    world.line.release()
    async with asyncio.timeout(30):
        while (answer := await call()).status == 500:
            assert b"circuit breaker is open" in answer.body
            await asyncio.sleep(0.05)
    assert OPEN - _EARLY <= time.monotonic() - opening <= OPEN + _LATE
    assert world.redis.call("GET", "m") == "4"  # three, and the probe; the refused never came


async def a_redis_that_is_away_for_a_while(world: World) -> None:
    world.line.refuse()
    away = 4 * WAIT
    saving = asyncio.ensure_future(
        world.call("POST", "/v1.0/state/store", [{"key": "k", "value": 1}])
    )
    await asyncio.to_thread(world.sidecar.wait_line, "component[store] output. Retrying in 250ms")
    await asyncio.sleep(away)
    assert not saving.done()
    started = time.monotonic()
    await world.line.start()
    assert (await saving).status == 204
    assert time.monotonic() - started <= WAIT + _LATE
    line = await asyncio.to_thread(
        world.sidecar.wait_line, "Recovered processing operation component[store] output after"
    )
    found = re.search(r"after (\d+) attempts", line)
    assert found is not None
    assert 1 <= int(found[1]) <= (away + _LATE) / WAIT
    assert (await world.call("GET", "/v1.0/state/store/k", None)).body == b"1"
