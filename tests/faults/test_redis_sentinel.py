"""Redis behind sentinels: the server is found, and found again after another took its place."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.block_api import make
from harness.component_table import until
from harness.programs import free_port
from harness.redis_server import DurableRedis, RedisServer, redis_server

from dapr_sidecar.components.lock.redis import RedisLockStore
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.pubsub.base import Message, PublishRequest
from dapr_sidecar.components.pubsub.redis import RedisPubSub
from dapr_sidecar.components.redis.connection import RedisConnectionError, RedisError
from dapr_sidecar.components.state.base import GetRequest, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore

CONFIG = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor mymaster 127.0.0.1 {master} 1
sentinel down-after-milliseconds mymaster 2000
sentinel failover-timeout mymaster 2000
"""


@dataclass
class Cluster:
    master: DurableRedis
    replica: RedisServer
    sentinel: RedisServer

    def properties(self, **more: str) -> dict[str, str]:
        host = f"127.0.0.1:1,{self.sentinel.address}"  # the first one is away
        return {
            "redisHost": host,
            "failover": "true",
            "sentinelMasterName": "mymaster",
            "readTimeout": "1s",
            **more,
        }

    def replicas(self) -> int:
        info = self.master.server.call("INFO", "replication")
        return info.count("state=online")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with ExitStack() as stack:
        master = DurableRedis(str(tmp_path), durable=False)
        stack.callback(master.kill)
        replica = stack.enter_context(
            redis_server(
                "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0"
            )
        )
        sentinel = _sentinel(stack, tmp_path, master.port)
        yield Cluster(master, replica, sentinel)


def _sentinel(stack: ExitStack, folder: Path, master: int) -> RedisServer:
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(CONFIG.format(port=port, folder=folder, master=master))
    process = subprocess.Popen(
        ["redis-server", str(file), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return RedisServer(port)


def _knows_replica(cluster: Cluster) -> bool:
    try:
        found = cluster.sentinel.call("SENTINEL", "REPLICAS", "mymaster")
    except subprocess.CalledProcessError:
        return False  # not listening yet
    return str(cluster.replica.port) in found and "master-link-status\nok" in found


def _listens(cluster: Cluster) -> bool:
    try:
        return cluster.sentinel.call("PING") == "PONG"
    except subprocess.CalledProcessError:
        return False


async def ready(cluster: Cluster) -> None:
    """Everything is up, and the replica copies."""
    await until(lambda: cluster.replicas() == 1)
    await until(lambda: _listens(cluster))


async def persistently(call: Any) -> Any:
    """Try until it works, as an application would."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except (RedisConnectionError, RedisError):
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_another_server_takes_over(cluster: Cluster) -> None:
    await ready(cluster)
    await until(lambda: _knows_replica(cluster), 30)
    store = make(RedisStateStore, **cluster.properties())
    await store.open()
    await store.set(SetRequest("k", b"1", consistency="strong"))  # on the replica, too
    broker = make(RedisPubSub, **cluster.properties(consumerID="g"))
    await broker.open()
    got: list[bytes] = []

    async def take(message: Message) -> None:
        got.append(message.data)

    subscription = await broker.subscribe("t", {}, take)
    await broker.publish(PublishRequest("t", b"before", {}))
    await until(lambda: got == [b"before"])
    cluster.master.kill()
    await persistently(lambda: store.set(SetRequest("k2", b"2")))
    assert (await store.get(GetRequest("k"))).data == b"1"
    assert cluster.replica.call("HGET", "k2", "data") == "2"
    await persistently(lambda: broker.publish(PublishRequest("t", b"after", {})))
    await until(lambda: b"after" in got)
    await subscription.close()
    await broker.close()
    await store.close()


async def test_locks_take_a_server_with_replicas_when_failover_is_on(cluster: Cluster) -> None:
    await ready(cluster)
    store = make(RedisLockStore, **cluster.properties())
    await store.open()
    assert await store.try_lock("r", "me", 60)
    await store.close()


async def test_no_sentinel_knows_the_name(cluster: Cluster) -> None:
    await ready(cluster)
    given = {**cluster.properties(redisMaxRetries="0"), "sentinelMasterName": "other"}
    store = make(RedisStateStore, **given)
    with pytest.raises(RedisConnectionError, match="no server found for 'other'") as caught:
        await store.open()
    assert "127.0.0.1:1: Connection refused" in str(caught.value)
    assert f"{cluster.sentinel.address} does not know it" in str(caught.value)


def test_failover_needs_a_name() -> None:
    with pytest.raises(SettingsError, match="sentinelMasterName"):
        make(RedisStateStore, redisHost="127.0.0.1:1", failover="true")
