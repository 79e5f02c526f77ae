"""What all SDK tests share: a Redis server and the components that official examples name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, component

REDELIVERY = {"redeliverInterval": "200ms", "processingTimeout": "400ms"}
SECRETS = {"plain": "sesame", "db": {"password": "s3cret"}}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    with redis_server() as server:
        server.call("SET", "color", "red||1")
        yield server


@pytest.fixture(scope="module")
def components(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """One component of each block the SDKs use."""
    secrets = Path(tmp_path_factory.mktemp("secrets")) / "secrets.json"
    secrets.write_text(json.dumps(SECRETS))
    address = {"redisHost": redis.address}
    return [
        component("statestore", "state.redis", **address),
        component(
            "pubsub",
            "pubsub.redis",
            **address,
            redeliverInterval="200ms",
            processingTimeout="400ms",
        ),
        component("configstore", "configuration.redis", **address),
        component("lockstore", "lock.redis", **address),
        component("redis", "bindings.redis", **address, direction="output"),
        component("secrets", "secretstores.local.file", secretsFile=str(secrets)),
    ]
