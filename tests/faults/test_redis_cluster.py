"""A Redis cluster: keys on three nodes, slots that move, nodes that go and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.redis_cluster import ClusterNode, RedisCluster, is_available, redis_cluster

from dapr_sidecar.components.configuration.redis import RedisConfigurationStore
from dapr_sidecar.components.lock.redis import RedisLockStore
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.pubsub.redis import RedisPubSub
from dapr_sidecar.components.redis.connection import RedisConnectionError, RedisError
from dapr_sidecar.components.redis.slots import slot_of
from dapr_sidecar.components.state.base import EtagError, GetRequest, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    if not is_available():
        pytest.skip("redis-server is not installed")
    with redis_cluster() as found:
        yield found


@pytest.fixture
async def store(cluster: RedisCluster) -> AsyncIterator[Any]:
    found = make(RedisStateStore, **properties(cluster))
    await found.open()
    yield found
    await found.close()


def properties(cluster: RedisCluster, **more: str) -> dict[str, str]:
    host = f"127.0.0.1:1,{cluster.address}"  # the first one is away
    fast = {"redisMaxRetries": "0", "dialTimeout": "3s", "readTimeout": "3s"}
    return {"redisHost": host, "redisType": "cluster", **fast, **more}


def key_at(cluster: RedisCluster, node: ClusterNode, prefix: str) -> str:
    """A key that a node has."""
    owners = cluster.owners()
    return next(k for n in range(1000) if owners[slot_of(k := f"{prefix}{n}")] is node)


def test_slots_are_the_servers(cluster: RedisCluster) -> None:
    server = cluster.nodes[0].server
    for key in ("k", "app||order-1", "{user}.a", "a{b}c{d}", "{}x", "x{", "ü"):
        assert slot_of(key) == int(server.call("CLUSTER", "KEYSLOT", key))


async def test_keys_are_where_they_belong(cluster: RedisCluster, store: Any) -> None:
    await store.bulk_set([SetRequest(f"app||{n}", b"%d" % n) for n in range(60)])
    held = [int(node.server.call("DBSIZE")) for node in cluster.nodes]
    assert all(held)
    found = await store.bulk_get([GetRequest(f"app||{n}") for n in range(60)], 0)
    assert [item.data for item in found] == [b"%d" % n for n in range(60)]


async def test_a_transaction_over_nodes(cluster: RedisCluster, store: Any) -> None:
    keys = [key_at(cluster, node, "tx") for node in cluster.nodes]
    await store.transact([SetRequest(key, key.encode()) for key in keys], {})
    assert [(await store.get(GetRequest(key))).data for key in keys] == [k.encode() for k in keys]
    with pytest.raises(EtagError):
        await store.transact([SetRequest(keys[0], b"no", etag="77")], {})


async def test_a_slot_that_moved(cluster: RedisCluster, store: Any) -> None:
    old, new = cluster.nodes[0], cluster.nodes[1]
    key = key_at(cluster, old, "moved")
    await store.set(SetRequest(key, b"1"))
    ids = {node: node.server.call("CLUSTER", "MYID") for node in cluster.nodes}
    slot = str(slot_of(key))
    new.server.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
    old.server.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
    old.server.call("MIGRATE", "127.0.0.1", str(new.port), key, "0", "5000")
    # On its way: the old node sends us over, for this command alone.
    found = await store.get(GetRequest(key))
    assert (found.data, found.etag) == (b"1", "1")
    await store.set(SetRequest(key, b"2", etag="1"))
    for node in (new, old, cluster.nodes[2]):
        node.server.call("CLUSTER", "SETSLOT", slot, "NODE", ids[new])
    # There for good.
    await store.set(SetRequest(key, b"3", etag="2"))
    await store.transact([SetRequest(key, b"4", etag="3")], {})
    assert (await store.get(GetRequest(key))).data == b"4"
    assert new.server.call("HGET", key, "data") == "4"
    store._client._slots[int(slot)] = ("127.0.0.1", old.port)  # as if it had not heard of it
    await store.transact([SetRequest(key, b"5", etag="4")], {})
    assert (await store.get(GetRequest(key))).data == b"5"


async def test_a_node_goes_and_comes_back(cluster: RedisCluster, store: Any) -> None:
    gone, stays = cluster.nodes[2], cluster.nodes[1]
    mine, other = key_at(cluster, gone, "gone"), key_at(cluster, stays, "stays")
    await store.bulk_set([SetRequest(mine, b"1"), SetRequest(other, b"1")])
    gone.kill()
    with pytest.raises((RedisConnectionError, RedisError)):
        await store.set(SetRequest(mine, b"2"))
    with pytest.raises((RedisConnectionError, RedisError)):
        await store.ping()
    await store.set(SetRequest(other, b"2"))
    gone.restart()
    await asyncio.to_thread(cluster.wait_ok)
    async with asyncio.timeout(20):
        while True:
            try:
                found = await store.get(GetRequest(mine))
            except (RedisConnectionError, RedisError):
                await asyncio.sleep(0.1)
            else:
                break
    assert found.data == b"1"
    await store.ping()


async def test_locks(cluster: RedisCluster) -> None:
    lock = make(RedisLockStore, **properties(cluster))
    await lock.open()
    for n in range(12):
        assert await lock.try_lock(f"resource-{n}", "me", 10)
        assert not await lock.try_lock(f"resource-{n}", "you", 10)
    await lock.close()


@pytest.mark.parametrize("kind", [RedisPubSub, RedisConfigurationStore])
def test_components_that_cannot_yet_say_so(kind: type[Any]) -> None:
    with pytest.raises(SettingsError, match="'redisType': 'cluster': this component cannot"):
        make(kind, redisHost="h:1", redisType="cluster", consumerID="g")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"redisType": "ring"}, "'redisType': 'ring': expected node or cluster"),
        ({"redisDB": "1"}, "'redisDB': '1': a cluster has 0 only"),
        ({"failover": "true", "sentinelMasterName": "m"}, "'failover': a cluster needs no"),
        ({"redisHost": "h:port"}, "'redisHost': 'h:port': expected host:port"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make(RedisStateStore, **{"redisHost": "h:1", "redisType": "cluster", **more})


async def test_a_server_that_is_no_cluster(server: Any) -> None:
    store = make(RedisStateStore, redisHost=server.address, redisType="cluster")
    with pytest.raises(RedisError, match="cluster support disabled"):
        await store.open()
    await store.close()
