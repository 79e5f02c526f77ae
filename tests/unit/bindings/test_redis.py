from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from harness.block_api import make
from harness.redis_server import RedisServer, is_available, redis_server

from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse
from dapr_sidecar.components.bindings.redis import RedisBinding

pytestmark = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
async def binding(server: RedisServer) -> AsyncIterator[RedisBinding]:
    server.call("FLUSHALL")
    found: RedisBinding = make(RedisBinding, redisHost=server.address)
    await found.open()
    yield found
    await found.close()


async def call(
    binding: RedisBinding, operation: str, data: bytes = b"", **metadata: str
) -> InvokeResponse | None:
    return await binding.invoke(InvokeRequest(operation, data, metadata))


async def test_create_get_delete(binding: RedisBinding, server: RedisServer) -> None:
    assert await call(binding, "create", b'"v"', key="k") is None
    assert server.call("GET", "k") == '"v"'
    assert server.call("TTL", "k") == "-1"
    assert await call(binding, "get", key="k") == InvokeResponse(b'"v"')
    assert await call(binding, "delete", key="k") is None
    assert await call(binding, "get", key="k") == InvokeResponse(b"")


async def test_get_and_delete(binding: RedisBinding, server: RedisServer) -> None:
    await call(binding, "create", b"v", key="k")
    assert await call(binding, "get", key="k", delete="true") == InvokeResponse(b"v")
    assert server.call("EXISTS", "k") == "0"


async def test_increment(binding: RedisBinding) -> None:
    await call(binding, "increment", key="n")
    assert await call(binding, "increment", key="n") == InvokeResponse(b"2")


async def test_expiry(binding: RedisBinding, server: RedisServer) -> None:
    await call(binding, "create", b"v", key="k", ttlInSeconds="6000")
    assert 5900 <= int(server.call("TTL", "k")) <= 6000
    await call(binding, "create", b"v", key="k", ttlInSeconds="0")
    assert server.call("EXISTS", "k") == "0"
    with pytest.raises(ValueError, match="'soon' is no whole number"):
        await call(binding, "create", b"v", key="k", ttlInSeconds="soon")


async def test_a_key_is_needed(binding: RedisBinding) -> None:
    for operation in binding.operations:
        with pytest.raises(ValueError, match="missing key"):
            await call(binding, operation)
