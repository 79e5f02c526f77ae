"""What all SDK tests share: a Redis server and the components that official examples name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, component

REDELIVERY = {"redeliverInterval": "200ms", "processingTimeout": "2s"}
SECRETS = {"plain": "sesame", "db": {"password": "s3cret"}}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def fresh_components(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], list[Manifest]]:
    """Empties Redis, then gives one component of each block the SDKs use."""
    secrets = Path(tmp_path_factory.mktemp("secrets")) / "secrets.json"
    secrets.write_text(json.dumps(SECRETS))
    address = {"redisHost": redis.address}

    def make() -> list[Manifest]:
        redis.call("FLUSHALL")
        redis.call("SET", "color", "red||1")
        return [
            component("statestore", "state.redis", **address),
            component("pubsub", "pubsub.redis", **address, **REDELIVERY),
            component("configstore", "configuration.redis", **address),
            component("lockstore", "lock.redis", **address),
            component("redis", "bindings.redis", **address, direction="output"),
            component("secrets", "secretstores.local.file", secretsFile=str(secrets)),
            component("tick", "bindings.cron", schedule="@every 1s"),
        ]

    return make
