"""Redis has no memory left: writes are refused in its words, what is there stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from harness.block_api import make
from harness.component_table import until
from harness.redis_server import RedisServer, redis_server

from dapr_sidecar.components.pubsub.base import BulkPublishEntry, Message, PublishRequest
from dapr_sidecar.components.pubsub.redis import RedisPubSub
from dapr_sidecar.components.redis.connection import RedisError
from dapr_sidecar.components.state.base import GetRequest, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore


@pytest.fixture
def server() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with redis_server("--maxmemory-policy", "noeviction") as found:
        yield found


async def test_state(server: RedisServer) -> None:
    store = make(RedisStateStore, redisHost=server.address)
    await store.open()
    await store.set(SetRequest("k", b"1"))
    server.call("CONFIG", "SET", "maxmemory", "1")
    for call in (
        store.set(SetRequest("k", b"2")),
        store.transact([SetRequest("k", b"3"), SetRequest("k2", b"3")], {}),
    ):
        with pytest.raises(RedisError, match="OOM"):
            await call
    assert (await store.get(GetRequest("k"))).data == b"1"
    server.call("CONFIG", "SET", "maxmemory", "0")
    await store.set(SetRequest("k", b"4", etag="1"))
    assert (await store.get(GetRequest("k"))).data == b"4"
    await store.close()


async def test_pubsub(server: RedisServer) -> None:
    broker = make(RedisPubSub, redisHost=server.address, consumerID="g")
    await broker.open()
    got: list[bytes] = []

    async def take(message: Message) -> None:
        got.append(message.data)

    await (await broker.subscribe("t", {}, take)).close()
    await broker.publish(PublishRequest("t", b"1", {}))
    server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RedisError, match="OOM"):
        await broker.publish(PublishRequest("t", b"2", {}))
    failed = await broker.bulk_publish("t", [BulkPublishEntry("a", b"3", "", {})], {})
    assert "OOM" in str(failed["a"])
    subscription = await broker.subscribe("t", {}, take)
    server.call("CONFIG", "SET", "maxmemory", "0")
    await broker.publish(PublishRequest("t", b"4", {}))
    await until(lambda: set(got) == {b"1", b"4"})
    await subscription.close()
    await broker.close()
