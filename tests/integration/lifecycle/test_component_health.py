"""Whether components can serve now: asked of them; told by health, metadata, metric and log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.http_call import acall, call
from harness.redis_server import DurableRedis, is_available
from harness.sidecar import Sidecar, component

pytestmark = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[DurableRedis]:
    server = DurableRedis(str(tmp_path), durable=False)
    yield server
    server.kill()


def broken_sqlite() -> dict[str, Any]:
    manifest = component("broken", "state.sqlite", connectionString="/dev/null/db")
    manifest["spec"]["ignoreErrors"] = True
    return manifest


def metric(sidecar: Sidecar, name: str) -> list[str]:
    text = call(sidecar.metrics_port, "GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("dapr_component_ready{")]
    return [line.rpartition(" ")[2] for line in lines if f'component="{name}"' in line]


def health(sidecar: Sidecar) -> dict[str, dict[str, str]]:
    body = call(sidecar.http_port, "GET", "/v1.0/metadata?health=true").json
    return {one["name"]: one for one in body["componentHealth"]}


async def test_a_store_goes_away_and_comes_back(redis: DurableRedis) -> None:
    resources = [
        component("store", "state.redis", redisHost=redis.server.address),
        component("memory", "state.in-memory"),
    ]
    async with Sidecar(resources=resources) as sidecar:
        port = sidecar.http_port
        for path in ("?component=store", "?component=memory", "?all=true", ""):
            assert call(port, "GET", f"/v1.0/healthz{path}").status == 204
        assert metric(sidecar, "store") == metric(sidecar, "memory") == ["1"]
        plain = call(port, "GET", "/v1.0/metadata").json
        assert "componentHealth" not in plain
        assert list(plain["extended"]) == ["daprRuntimeVersion"]
        assert {one["state"] for one in health(sidecar).values()} == {"ready"}

        redis.kill()
        # Answers of a moment ago still hold; the watch asks by itself, this only asks sooner.
        async with asyncio.timeout(20):
            while (
                answer := await acall(port, "GET", "/v1.0/healthz?component=store")
            ).status < 500:
                await asyncio.sleep(0.1)
        assert answer.code == "ERR_HEALTH_COMPONENT_NOT_READY"
        assert "store (failing since " in answer.json["message"]
        assert "refused" not in answer.json["message"], "the error is not for everybody"
        assert call(port, "GET", "/v1.0/healthz?all=true").status == 500
        assert call(port, "GET", "/v1.0/healthz?component=memory").status == 204
        assert call(port, "GET", "/v1.0/healthz").status == 204, "the plain one means what it meant"
        failing = health(sidecar)["store"]
        assert failing["state"] == "failing"
        assert "refused" in failing["lastError"].lower()
        told = call(port, "GET", "/v1.0/metadata").json["extended"]["componentHealth.store"]
        assert told.startswith(f"failing since {failing['since']}: ")
        assert metric(sidecar, "store") == ["0"]
        await asyncio.to_thread(sidecar.wait_line, "Component store (state.redis/v1) is failing: ")

        redis.start()
        await asyncio.to_thread(
            sidecar.wait_line, "Component store (state.redis/v1) is ready again"
        )
        assert call(port, "GET", "/v1.0/healthz?component=store").status == 204
        assert metric(sidecar, "store") == ["1"]
        assert list(call(port, "GET", "/v1.0/metadata").json["extended"]) == ["daprRuntimeVersion"]


async def test_what_is_not_loaded(redis: DurableRedis) -> None:
    async with Sidecar(resources=[broken_sqlite()]) as sidecar:
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz?component=broken")
        assert (answer.status, answer.code) == (500, "ERR_HEALTH_COMPONENT_NOT_READY")
        assert health(sidecar)["broken"]["state"] == "failing"
        assert "/dev/null" in health(sidecar)["broken"]["lastError"]
        answer = call(sidecar.http_port, "GET", "/v1.0/healthz?component=nobody")
        assert (answer.status, answer.code) == (404, "ERR_HEALTH_COMPONENT_NOT_FOUND")
        (sidecar.resources_path / "00-broken.yaml").unlink()
        async with asyncio.timeout(20):
            while (await acall(sidecar.http_port, "GET", "/v1.0/healthz?all=true")).status != 204:
                await asyncio.sleep(0.05)
