from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
from harness.block_api import make
from harness.redis_server import RedisServer, is_available, redis_server

from dapr_sidecar.components.configuration.base import Item
from dapr_sidecar.components.configuration.redis import RedisConfigurationStore
from dapr_sidecar.components.redis.connection import RedisConnectionError, RedisError

pytestmark = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisConfigurationStore]:
    server.call("FLUSHALL")
    server.call("CONFIG", "SET", "notify-keyspace-events", "")
    found: RedisConfigurationStore = make(RedisConfigurationStore, redisHost=server.address)
    await found.open()
    yield found
    await found.close()


class Updates:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Mapping[str, Item]] = asyncio.Queue()

    async def __call__(self, items: Mapping[str, Item]) -> None:
        await self.queue.put(items)

    async def next(self) -> Mapping[str, Item]:
        return await asyncio.wait_for(self.queue.get(), 30)


async def test_values_and_versions(store: RedisConfigurationStore, server: RedisServer) -> None:
    for key, value in {"a": "1||2", "b": "plain", "c": "v||3||7", "d": "", "e": "||5"}.items():
        server.call("SET", key, value)
    server.call("HSET", "hash", "f", "v")
    expected = {"a": Item("1", "2"), "b": Item("plain"), "c": Item("v", "3"), "e": Item("", "5")}
    assert await store.get(["a", "b", "c", "d", "e", "hash", "none"], {}) == expected
    assert await store.get([], {}) == expected


async def test_all_keys_of_a_full_database(
    store: RedisConfigurationStore, server: RedisServer
) -> None:
    server.call("EVAL", "for i = 1, 2500 do redis.call('SET', 'k' .. i, i) end", "0")
    assert len(await store.get([], {})) == 2500


async def test_updates(store: RedisConfigurationStore, server: RedisServer) -> None:
    updates = Updates()
    found = await store.subscribe(["a", "b"], {}, updates)
    server.call("SET", "a", "1||2")
    assert await updates.next() == {"a": Item("1", "2")}
    server.call("SET", "a", "1||2")  # the same value is told again
    assert await updates.next() == {"a": Item("1", "2")}
    server.call("SET", "other", "1")
    server.call("DEL", "a")
    assert await updates.next() == {"a": Item()}
    server.call("SET", "b", "soon gone", "PX", "1")
    first = await updates.next()
    while first["b"].value:
        first = await updates.next()
    assert first == {"b": Item()}
    server.call("SET", "a", "last")
    while (update := await updates.next()) != {"a": Item("last")}:
        assert update == {"b": Item()}, "that it expired may be told after it was read as gone"
    await store.unsubscribe(found)
    server.call("SET", "a", "quiet")
    await asyncio.sleep(0.05)
    assert updates.queue.empty()
    with pytest.raises(KeyError):
        await store.unsubscribe(found)


async def test_updates_of_all_keys(store: RedisConfigurationStore, server: RedisServer) -> None:
    updates = Updates()
    await store.subscribe([], {}, updates)
    server.call("SET", "x:y", "1")
    assert await updates.next() == {"x:y": Item("1")}


async def test_a_handler_that_fails_ends_nothing(
    store: RedisConfigurationStore, server: RedisServer
) -> None:
    updates = Updates()

    async def fail_once(items: Mapping[str, Item]) -> None:
        await updates(items)
        if updates.queue.qsize() == 1 and items["a"].value == "1":
            raise RuntimeError("no")

    await store.subscribe(["a"], {}, fail_once)
    server.call("SET", "a", "1")
    await updates.next()
    server.call("SET", "a", "2")
    assert await updates.next() == {"a": Item("2")}


async def test_many_changes_of_a_key_wait_as_one(
    store: RedisConfigurationStore, server: RedisServer
) -> None:
    updates, gate = Updates(), asyncio.Event()

    async def slow(items: Mapping[str, Item]) -> None:
        await updates(items)
        await gate.wait()

    await store.subscribe(["a"], {}, slow)
    server.call("SET", "a", "0")
    await updates.next()
    server.call("EVAL", "for i = 1, 1000 do redis.call('SET', 'a', i) end", "0")
    gate.set()
    seen = [(await updates.next())["a"].value]
    while seen[-1] != "1000":
        seen.append((await updates.next())["a"].value)
    assert len(seen) < 10


async def test_events_that_others_need_stay_on(
    store: RedisConfigurationStore, server: RedisServer
) -> None:
    server.call("CONFIG", "SET", "notify-keyspace-events", "Ez")
    await store.subscribe(["a"], {}, Updates())
    flags = server.call("CONFIG", "GET", "notify-keyspace-events").split()[-1]
    assert set("KEzg$xe") == set(flags)


async def test_a_connection_cut_by_the_server_comes_back_and_nothing_is_missed(
    store: RedisConfigurationStore, server: RedisServer
) -> None:
    updates = Updates()
    await store.subscribe(["a", "b"], {}, updates)
    server.call("CLIENT", "KILL", "TYPE", "pubsub")
    server.call("SET", "a", "while away")
    found: dict[str, Item] = {}
    while len(found) < 2:
        found.update(await updates.next())
    assert found == {"a": Item("while away"), "b": Item()}
    server.call("SET", "b", "back")
    assert await updates.next() == {"b": Item("back")}


async def test_subscriptions_that_are_refused_say_why(server: RedisServer) -> None:
    server.call("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "resetchannels")
    store = make(
        RedisConfigurationStore,
        redisHost=server.address,
        redisUsername="limited",
        redisPassword="pw",
    )
    await store.open()
    with pytest.raises(RedisError, match="NOPERM"):
        await store.subscribe(["a"], {}, Updates())
    await store.close()
    with pytest.raises(RedisConnectionError):
        await store.get([], {})
