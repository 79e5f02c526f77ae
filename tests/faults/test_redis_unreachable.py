"""Redis cannot be reached when a component starts, or goes away while it works."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.component_table import until
from harness.proxy import Proxy
from harness.redis_server import RedisServer

from dapr_sidecar.components.bindings.redis import RedisBinding
from dapr_sidecar.components.configuration.base import Item
from dapr_sidecar.components.configuration.redis import RedisConfigurationStore
from dapr_sidecar.components.lock.redis import RedisLockStore
from dapr_sidecar.components.pubsub.base import Message, PublishRequest
from dapr_sidecar.components.pubsub.redis import RedisPubSub
from dapr_sidecar.components.redis.client import RedisClient
from dapr_sidecar.components.redis.connection import RedisConnectionError
from dapr_sidecar.components.redis.settings import RedisSettings
from dapr_sidecar.components.state.base import GetRequest, SetRequest
from dapr_sidecar.components.state.redis import RedisStateStore

_PATIENCE = 20.0
"""Seconds within which everything ends that does not wait for ever, on a busy machine."""
ALL = [RedisBinding, RedisConfigurationStore, RedisLockStore, RedisPubSub, RedisStateStore]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Nobody listens on it, and nobody can while the test runs."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield int(found.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen(100)
        yield int(found.getsockname()[1])


@pytest.mark.parametrize("kind", ALL)
async def test_nobody_listens(kind: type[Any], closed_port: int) -> None:
    component = make(kind, redisHost=f"127.0.0.1:{closed_port}", redisMaxRetries="1")
    with pytest.raises(
        RedisConnectionError, match=rf"127\.0\.0\.1:{closed_port}: Connection refused"
    ):
        await asyncio.wait_for(component.open(), _PATIENCE)
    await component.close()


@pytest.mark.parametrize("kind", ALL)
async def test_nobody_answers(kind: type[Any], silent_port: int) -> None:
    component = make(
        kind, redisHost=f"127.0.0.1:{silent_port}", redisMaxRetries="0", dialTimeout="100ms"
    )
    with pytest.raises(RedisConnectionError, match="does not answer"):
        await asyncio.wait_for(component.open(), _PATIENCE)
    await component.close()


@pytest.mark.parametrize("kind", ALL)
async def test_a_wrong_password(kind: type[Any], server: RedisServer) -> None:
    component = make(kind, redisHost=server.address, redisPassword="s3cret-pw")
    with pytest.raises(
        Exception, match=f"error connecting to redis at {server.address}: "
    ) as caught:
        await component.open()
    assert "s3cret-pw" not in str(caught.value)
    await component.close()


async def test_a_cancelled_open_leaves_nothing_behind(silent_port: int) -> None:
    component = make(RedisStateStore, redisHost=f"127.0.0.1:{silent_port}")
    opening = asyncio.ensure_future(component.open())
    await asyncio.sleep(0.05)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await component.close()


# --- while it works ---------------------------------------------------------------------------


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[RedisStateStore]:
    found: RedisStateStore = make(RedisStateStore, redisHost=proxy.address, readTimeout="2s")
    await found.open()
    yield found
    await found.close()


async def test_a_cut_line(proxy: Proxy, store: RedisStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    proxy.hold()
    waiting = [asyncio.ensure_future(store.get(GetRequest("k"))) for _ in range(20)]
    await asyncio.sleep(0.05)
    proxy.cut()
    gathered = asyncio.gather(*waiting, return_exceptions=True)
    results = await asyncio.wait_for(gathered, _PATIENCE)
    assert all(isinstance(result, RedisConnectionError) for result in results)
    assert {str(result) for result in results} == {
        f"connection to redis at {proxy.address} lost: EOF"
    }
    proxy.release()
    assert (await store.get(GetRequest("k"))).data == b"1"


async def test_a_server_that_stops_answering(proxy: Proxy, store: RedisStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    proxy.hold()
    with pytest.raises(
        RedisConnectionError, match=rf"redis at {proxy.address} did not answer within"
    ):
        await asyncio.wait_for(store.get(GetRequest("k")), _PATIENCE)
    proxy.release()
    assert (await store.get(GetRequest("k"))).data == b"1"


async def test_a_connection_that_dies_in_silence(proxy: Proxy, store: RedisStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    proxy.lose()
    with pytest.raises(RedisConnectionError, match="did not answer within"):
        await asyncio.wait_for(store.get(GetRequest("k")), _PATIENCE)
    assert (await store.get(GetRequest("k"))).data == b"1"


async def test_a_server_that_is_away_for_a_while(proxy: Proxy, store: RedisStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    proxy.refuse()
    for _ in range(3):
        with pytest.raises(RedisConnectionError):
            await asyncio.wait_for(store.get(GetRequest("k")), _PATIENCE)
    with pytest.raises(RedisConnectionError):
        await store.ping()
    await proxy.start()
    assert (await store.get(GetRequest("k"))).data == b"1"
    await store.ping()


async def test_callers_share_one_new_connection(proxy: Proxy, store: RedisStateStore) -> None:
    await store.set(SetRequest("k", b"1"))
    proxy.cut()
    await until(lambda: store._client._connection is None or store._client._connection.lost)
    before = proxy.accepted
    found = await asyncio.gather(*(store.get(GetRequest("k")) for _ in range(50)))
    assert {one.data for one in found} == {b"1"}
    assert proxy.accepted == before + 1


async def test_scripts_survive_a_server_that_forgot_them(
    server: RedisServer, store: RedisStateStore
) -> None:
    await store.set(SetRequest("k", b"1"))
    server.call("SCRIPT", "FLUSH")
    await store.set(SetRequest("k", b"2", etag="1"))
    assert (await store.get(GetRequest("k"))).etag == "2"


# --- callers that give up ---------------------------------------------------------------------


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[RedisClient]:
    found = RedisClient(RedisSettings(host=proxy.address))
    await found.open()
    yield found
    await found.close()


async def test_cancelled_callers_leave_the_replies_of_others_alone(
    proxy: Proxy, client: RedisClient
) -> None:
    for round_ in range(5):
        proxy.hold()
        calls = [asyncio.ensure_future(client.command("ECHO", str(n))) for n in range(200)]
        await asyncio.sleep(0)
        for n, call in enumerate(calls):
            if (n + round_) % 3 == 0:
                call.cancel()
        await asyncio.sleep(0.01)
        proxy.release()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for n, result in enumerate(results):
            if (n + round_) % 3 == 0:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result == str(n).encode()


async def test_a_cancelled_transaction_or_pipeline_leaves_the_replies_of_others_alone(
    proxy: Proxy, client: RedisClient
) -> None:
    proxy.hold()
    lost = [
        asyncio.ensure_future(client.transaction([("INCR", "n"), ("INCR", "n")])),
        asyncio.ensure_future(client.pipeline([("INCR", "n"), ("INCR", "n")])),
    ]
    kept = asyncio.ensure_future(client.command("ECHO", "kept"))
    await asyncio.sleep(0.01)
    for call in lost:
        call.cancel()
    await asyncio.gather(*lost, return_exceptions=True)
    proxy.release()
    assert await kept == b"kept"
    assert await client.command("GET", "n") == b"4"  # what was sent is done


async def test_a_caller_cancelled_while_connecting_stops_nobody_else(
    proxy: Proxy, client: RedisClient
) -> None:
    proxy.cut()
    await until(lambda: client._connection is None or client._connection.lost)
    first = asyncio.ensure_future(client.command("ECHO", "1"))
    second = asyncio.ensure_future(client.command("ECHO", "2"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"2"


# --- subscriptions ----------------------------------------------------------------------------


async def test_messages_come_after_the_line_was_cut(proxy: Proxy, server: RedisServer) -> None:
    fast = {"processingTimeout": "2s", "redeliverInterval": "200ms", "consumerID": "g"}
    near = make(RedisPubSub, redisHost=server.address, consumerID="g")
    far = make(RedisPubSub, redisHost=proxy.address, readTimeout="500ms", **fast)
    await near.open()
    await far.open()
    got: set[bytes] = set()

    async def take(message: Message) -> None:
        got.add(message.data)

    subscription = await far.subscribe("t", {}, take)
    sent = set()
    for n in range(60):
        sent.add(b"%d" % n)
        await near.publish(PublishRequest("t", b"%d" % n, {}))
        if n % 20 == 10:
            proxy.cut()
        if n == 30:
            proxy.refuse()
        if n == 40:
            await proxy.start()
    await until(lambda: got == sent)
    await until(lambda: server.call("XPENDING", "t", "g").startswith("0"))
    await subscription.close()
    await near.close()
    await far.close()


async def test_the_log_says_which_server_of_which_component_is_lost(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(_: Any) -> None:
        return None

    pubsub = make(RedisPubSub, "bus", redisHost=proxy.address, consumerID="g", redisMaxRetries="0")
    store = make(RedisConfigurationStore, "rules", redisHost=proxy.address, redisMaxRetries="0")
    await pubsub.open()
    await store.open()
    subscription = await pubsub.subscribe("t", {}, take)
    await store.subscribe(["k"], {}, take)
    proxy.refuse()
    refused = f"error connecting to redis at {proxy.address}: Connection refused"
    wanted = [
        f"component 'bus': reading stream t failed: connection to redis at {proxy.address} lost",
        "component 'rules': the connection for configuration updates is lost, connecting again",
        f"component 'rules': the connection for configuration updates cannot be made: {refused}",
    ]
    await until(lambda: all(text in caplog.text for text in wanted))
    await subscription.close()
    await pubsub.close()
    await store.close()


async def test_configuration_updates_come_after_the_line_was_cut(
    proxy: Proxy, server: RedisServer
) -> None:
    store = make(RedisConfigurationStore, redisHost=proxy.address)
    await store.open()
    got: list[Item] = []

    async def take(items: Any) -> None:
        got.extend(items.values())

    await store.subscribe(["k"], {}, take)
    server.call("SET", "k", "1")
    await until(lambda: got)
    proxy.refuse()
    server.call("SET", "k", "while away")
    await asyncio.sleep(0.3)
    await proxy.start()
    await until(lambda: Item("while away") in got)
    server.call("SET", "k", "back")
    await until(lambda: Item("back") in got)
    await store.close()


async def test_a_configuration_connection_that_died_in_silence_is_noticed(
    proxy: Proxy, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.configuration.redis_watch._PING_SECONDS", 0.1)
    store = make(RedisConfigurationStore, redisHost=proxy.address, dialTimeout="1s")
    await store.open()
    got: list[Item] = []

    async def take(items: Any) -> None:
        got.extend(items.values())

    await store.subscribe(["k"], {}, take)
    before = proxy.accepted
    proxy.hold()
    server.call("SET", "k", "held back")
    await until(lambda: proxy.accepted > before)
    proxy.release()
    await until(lambda: Item("held back") in got)
    await store.close()


async def test_what_fails_is_bounded_where_nothing_is_redelivered(server: RedisServer) -> None:
    """An app that fails for long must not fill the memory; nothing is lost either."""
    server.call("FLUSHALL")
    pubsub = make(
        RedisPubSub,
        redisHost=server.address,
        consumerID="g",
        redeliverInterval="0",
        queueDepth="10",
        concurrency="5",
    )
    await pubsub.open()
    failing, got, tried = True, set[bytes](), set[bytes]()

    async def take(message: Message) -> None:
        tried.add(message.data)
        if failing:
            raise RuntimeError("not now")
        got.add(message.data)

    subscription = await pubsub.subscribe("t", {}, take)
    for n in range(200):
        await pubsub.publish(PublishRequest("t", b"%d" % n, {}))
    await until(lambda: len(tried) >= 10)
    await asyncio.sleep(1)  # long enough to read all of them, were there no bound
    assert len(tried) <= 3 * 10, "those that failed, and what was read before that was known"
    failing = False
    await until(lambda: len(got) == 200)
    await subscription.close()
    await pubsub.close()
