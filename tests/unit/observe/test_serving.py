"""The health and metrics servers of control plane programs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from harness.http_call import acall

from dapr_common.aio import listeners
from dapr_common.aio.listeners import BindError
from dapr_common.observe.health import Readiness
from dapr_common.observe.metrics import Registry
from dapr_common.observe.serving import HealthServer, MetricsServer

LOG = logging.getLogger("dapr.test")


@pytest.fixture
async def readiness() -> Readiness:
    return Readiness(["one", "two"])


@pytest.fixture
async def health(readiness: Readiness) -> AsyncIterator[int]:
    server = HealthServer(readiness, LOG)
    yield await server.open("127.0.0.1", 0)
    await server.close()


async def test_health_follows_readiness(health: int, readiness: Readiness) -> None:
    assert (await acall(health, "GET", "/healthz")).status == 503
    readiness.ready("one")
    readiness.ready("two")
    answer = await acall(health, "GET", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    readiness.unready("two")
    assert (await acall(health, "GET", "/healthz")).status == 503
    assert (await acall(health, "GET", "/other")).status == 404


async def test_what_is_missing_is_logged_once(
    health: int, readiness: Readiness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOG.name):
        for _ in range(3):
            await acall(health, "GET", "/healthz")
        readiness.ready("one")
        await acall(health, "GET", "/healthz")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["Not ready yet: one, two", "Not ready yet: two"]


@pytest.mark.parametrize("path", ["/", "/metrics"])
async def test_metrics(path: str) -> None:
    registry = Registry()
    registry.counter("dapr_test_total").at().add(3)
    server = MetricsServer(registry)
    port = await server.open("127.0.0.1", 0)
    try:
        answer = await acall(port, "GET", path)
    finally:
        await server.close()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"dapr_test_total 3\n" in answer.body


async def test_a_port_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "_TOTAL_SECONDS", 0.2)
    with pytest.raises(BindError, match="health server could not listen on any address"):
        await HealthServer(Readiness(), LOG).open("192.0.2.1", 1)
