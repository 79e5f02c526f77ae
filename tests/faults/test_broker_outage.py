"""A whole sidecar while its broker is away: what the app, the caller and the metrics see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from harness.backends import Backend
from harness.component_table import until
from harness.http_call import acall
from harness.local_app import LocalApp
from harness.message_systems import JETSTREAM, SLACK
from harness.programs import free_port
from harness.sidecar import Sidecar, component

pytestmark = pytest.mark.slow
_TOPIC = "orders.t"
_DEADLINE_SECONDS = 15.0


@pytest.fixture
async def server() -> AsyncIterator[Backend]:
    async with Backend(JETSTREAM.backend) as found:
        await JETSTREAM.prepare(found.address)
        yield found


async def metric(sidecar: Sidecar, name: str, **labels: str) -> float:
    """The sum of a counter's values with these labels."""
    text = (await acall(sidecar.metrics_port, "GET", "/")).body.decode()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(w in line for w in wanted))


async def test_a_sidecar_outlives_its_broker(server: Backend) -> None:
    metadata = {
        name: text.replace("{port}", str(server.port)).replace("{group}", "g")
        for name, text in JETSTREAM.metadata.items()
    }
    port, taken = free_port(), set[int]()
    subscribed = [{"pubsubname": "ps", "topic": _TOPIC, "route": "/t"}]
    routes = {"GET /dapr/subscribe": (200, subscribed), "POST /t": 200}

    async def publish(number: int) -> int:
        answer = await acall(
            sidecar.http_port, "POST", f"/v1.0/publish/ps/{_TOPIC}", number, timeout=60
        )
        if answer.status == 204:
            taken.add(number)
        elif answer.status == 500:
            assert answer.code == "ERR_PUBSUB_PUBLISH_MESSAGE"
            assert str(server.port) in answer.json["message"]
        return answer.status

    async with LocalApp(routes, port=port) as app:
        sidecar = Sidecar(resources=[component("ps", JETSTREAM.type, **metadata)], app_port=port)
        async with sidecar:
            for number in range(10):
                assert await publish(number) == 204
            server.kill()
            started = time.monotonic()
            assert set(await asyncio.gather(*map(publish, range(100, 104)))) == {500}
            assert time.monotonic() - started < _DEADLINE_SECONDS + SLACK
            failures = {"component": "ps", "success": "false", "topic": _TOPIC}
            assert await metric(sidecar, "dapr_component_pubsub_egress_count", **failures) == 4
            assert sidecar.get_status("/v1.0/healthz") == 204
            await asyncio.to_thread(server.restart)
            number = 200
            while await publish(number) != 204:
                number += 1
            for number in range(300, 310):
                assert await publish(number) == 204

            def delivered() -> set[int]:
                return {seen.json["data"] for seen in app.seen_on("/t")}

            await until(lambda: taken <= delivered(), 60)
            successes = {"component": "ps", "process_status": "success", "topic": _TOPIC}
            count = await metric(sidecar, "dapr_component_pubsub_ingress_count", **successes)
            assert count >= len(taken)
