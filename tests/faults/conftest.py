from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.dead_transports import collect_dead_transports, tolerate_dead_transports
from harness.proxy import Proxy
from harness.proxy import proxy as run_proxy
from harness.redis_server import DurableRedis, RedisServer, redis_server

__all__ = ["collect_dead_transports"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(tolerate_dead_transports)


@pytest.fixture(autouse=True)
def after_dead_lines(collect_dead_transports: None) -> None:
    """Every test of this folder kills lines."""


def _needs_redis() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    _needs_redis()
    with redis_server() as found:
        yield found


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    server.call("FLUSHALL")
    async with run_proxy(server.port) as found:
        yield found


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[DurableRedis]:
    _needs_redis()
    found = DurableRedis(str(tmp_path))
    yield found
    found.kill()


@pytest.fixture
def forgetful_redis(tmp_path: Path) -> Iterator[DurableRedis]:
    _needs_redis()
    found = DurableRedis(str(tmp_path), durable=False)
    yield found
    found.kill()
