from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from harness.block_api import make
from harness.redis_server import RedisServer, is_available, redis_server

from dapr_sidecar.components.lock.base import UnlockStatus
from dapr_sidecar.components.lock.redis import RedisLockStore
from dapr_sidecar.components.metadata import SettingsError

pytestmark = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisLockStore]:
    server.call("FLUSHALL")
    found: RedisLockStore = make(RedisLockStore, redisHost=server.address)
    await found.open()
    yield found
    await found.close()


async def test_layout(store: RedisLockStore, server: RedisServer) -> None:
    assert await store.try_lock("lock||a||r", "me", 6000)
    assert server.call("GET", "lock||a||r") == "me"
    assert 5900 <= int(server.call("TTL", "lock||a||r")) <= 6000


async def test_a_held_lock_is_nobodys_to_take(store: RedisLockStore) -> None:
    assert await store.try_lock("r", "me", 60)
    assert not await store.try_lock("r", "you", 60)
    assert not await store.try_lock("r", "me", 60)


async def test_unlock(store: RedisLockStore, server: RedisServer) -> None:
    assert await store.unlock("r", "me") is UnlockStatus.LOCK_DOES_NOT_EXIST
    await store.try_lock("r", "me", 60)
    assert await store.unlock("r", "you") is UnlockStatus.LOCK_BELONGS_TO_OTHERS
    assert server.call("EXISTS", "r") == "1"
    assert await store.unlock("r", "me") is UnlockStatus.SUCCESS
    assert server.call("EXISTS", "r") == "0"


async def test_an_expired_lock_is_free(store: RedisLockStore, server: RedisServer) -> None:
    await store.try_lock("r", "me", 60)
    server.call("PEXPIRE", "r", "0")
    assert await store.try_lock("r", "you", 60)


async def test_replicas_are_refused(server: RedisServer) -> None:
    host, _, port = server.address.partition(":")
    with redis_server("--replicaof", host, port) as replica:
        import time

        until = time.monotonic() + 30
        while "connected_slaves:1" not in server.call("INFO", "replication"):
            assert time.monotonic() < until
            time.sleep(0.05)
        store = make(RedisLockStore, redisHost=server.address)
        with pytest.raises(SettingsError, match="1 replicas"):
            await store.open()
        await store.close()
        assert replica.port


async def test_a_type_that_is_unknown(server: RedisServer) -> None:
    with pytest.raises(SettingsError, match="'redisType': 'ring': expected node or cluster"):
        make(RedisLockStore, redisHost=server.address, redisType="ring")
