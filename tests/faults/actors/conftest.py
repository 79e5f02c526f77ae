"""What every fault here happens to: actors in Redis, as most users keep them."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator

import pytest
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, component

_HANGS_SECONDS = 360


@pytest.fixture(autouse=True)
def _patience() -> None:
    """Thousands of actors take longer to come up than a blocked test may take elsewhere."""
    faulthandler.dump_traceback_later(_HANGS_SECONDS, exit=True)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    with redis_server() as found:
        yield found


@pytest.fixture
def resources(redis: RedisServer) -> list[Manifest]:
    redis.call("FLUSHALL")
    store = component("actors", "state.redis", redisHost=redis.address, actorStateStore="true")
    return [store]
