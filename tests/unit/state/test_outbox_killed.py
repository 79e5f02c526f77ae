"""A daprd that is killed while it works: what it acknowledged is published by its successor."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, Sidecar, component

pytestmark = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


def manifests(redis: RedisServer) -> list[Manifest]:
    return [
        component(
            "ps",
            "pubsub.redis",
            redisHost=redis.address,
            processingTimeout="1500ms",
            redeliverInterval="200ms",
        ),
        component(
            "st",
            "state.redis",
            redisHost=redis.address,
            outboxPublishPubsub="ps",
            outboxPublishTopic="out",
        ),
    ]


def sidecar(redis: RedisServer, **options: object) -> Sidecar:
    made: Sidecar = Sidecar("outbox-app", resources=manifests(redis), **options)  # type: ignore[arg-type]
    return made


def transact(port: int, key: str) -> int:
    """The status of one transaction, 0 when nobody answers."""
    request = {"operation": "upsert", "request": {"key": key, "value": key}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = json.dumps({"operations": [request]})
        connection.request("POST", "/v1.0/state/st/transaction", body)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class Writer(threading.Thread):
    """Transactions one after the other until nobody answers."""

    def __init__(self, name: str, port: int, enough: threading.Semaphore) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.enough = enough
        self.acknowledged: list[str] = []

    def run(self) -> None:
        number = 0
        while (status := transact(self.port, f"{self.name}-{number}")) == 204:
            self.acknowledged.append(f"{self.name}-{number}")
            self.enough.release()
            number += 1
        assert status == 0, status


def published(redis: RedisServer) -> list[str]:
    lines = redis.call("XRANGE", "out", "-", "+").splitlines()
    return [json.loads(line)["data"] for line in lines if line.startswith('{"data"')]


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(redis: RedisServer) -> None:
    enough = threading.Semaphore(0)
    with sidecar(redis, exit_code=-signal.SIGKILL) as first:
        writers = [Writer(f"w{n}", first.http_port, enough) for n in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(100):
            assert enough.acquire(timeout=30)
        first.signal(signal.SIGKILL)
        first.wait_exit()
    for writer in writers:
        writer.join(40)
    acknowledged = {key for writer in writers for key in writer.acknowledged}
    with sidecar(redis):
        until = time.monotonic() + 60
        while missing := acknowledged - set(published(redis)):
            assert time.monotonic() < until, sorted(missing)
            time.sleep(0.05)
    assert len(acknowledged) >= 100
