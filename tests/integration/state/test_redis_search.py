"""State queries on a real RediSearch, over records that are real RedisJSON documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.block_api import make

from dapr_sidecar.components.redis.client import RedisClient
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    Json,
    SetRequest,
)
from dapr_sidecar.components.state.query import QueryError
from dapr_sidecar.components.state.redis import RedisStateStore

JSON = {"contentType": "application/json"}
INDEX = {"queryIndexName": "people"}
KEYS = [
    {"key": "name", "type": "TEXT"},
    {"key": "age", "type": "NUMERIC"},
    {"key": "home.state", "type": "TEXT"},
]
PEOPLE = [
    {"name": "ann", "age": 9, "home": {"state": "WA"}},
    {"name": "bob", "age": 10, "home": {"state": "CA"}},
    {"name": "cid-x", "age": 100, "home": {"state": "CA"}},
    {"name": "dan", "age": 20.5, "home": {"state": "NY"}},
]


@pytest.fixture
def server(backends: Backends) -> Backend:
    return backends.shared("redis-stack")


@pytest.fixture
async def store(server: Backend) -> AsyncIterator[Any]:
    found = make(RedisStateStore, redisHost=server.address, queryIndexes=indexes(KEYS))
    await found.open()
    await found._client.command("FLUSHDB")
    await found.close()
    found = make(RedisStateStore, redisHost=server.address, queryIndexes=indexes(KEYS))
    await found.open()
    yield found
    await found.close()


def indexes(keys: list[dict[str, str]]) -> str:
    return json.dumps([{"name": "people", "indexes": keys}])


async def fill(store: Any) -> None:
    for person in PEOPLE:
        await store.set(SetRequest(f"app||{person['name']}", Json(person), metadata=JSON))
    await store.set(SetRequest("app||hash", b'{"age":10}'))
    await until_indexed(store, len(PEOPLE))


async def until_indexed(store: Any, count: int) -> None:
    """RediSearch indexes what is there already in the background."""
    async with asyncio.timeout(10):
        while len((await store.query({}, INDEX)).items) != count:
            await asyncio.sleep(0.02)


async def test_it_says_that_it_can(store: Any) -> None:
    assert Feature.QUERY_API in store.features
    assert store.feature_order[-1] is Feature.QUERY_API


async def test_documents(store: Any) -> None:
    client: RedisClient = store._client
    await store.set(SetRequest("k", Json({"a": [1, 2.5]}), metadata=JSON))
    assert await client.command("JSON.GET", "k") == b'{"data":{"a":[1,2.5]},"version":1}'
    found = await store.get(GetRequest("k", metadata=JSON))
    assert (found.data, found.etag) == (b'{"a":[1,2.5]}', "1")
    with pytest.raises(EtagError):
        await store.set(SetRequest("k", Json(1), etag="7", metadata=JSON))
    first = SetRequest("k", Json(1), etag="1", metadata=JSON, concurrency="first-write")
    await store.set(first)
    assert json.loads(await client.command("JSON.GET", "k")) == {
        "data": 1,
        "version": 2,
        "first-write": 0,
    }
    with pytest.raises(EtagError):
        await store.delete(DeleteRequest("k", etag="1", metadata=JSON))
    await store.transact([SetRequest("t", Json(3))], JSON)
    assert await client.command("JSON.GET", "t") == b'{"data":3,"version":1}'
    await store.delete(DeleteRequest("k", etag="2", metadata=JSON))
    assert (await store.get(GetRequest("k", metadata=JSON))).data is None


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({"EQ": {"name": "ann"}}, "ann"),
        ({"EQ": {"name": "cid-x"}}, "cid-x"),
        ({"EQ": {"age": 10}}, "bob"),
        ({"EQ": {"age": 20.5}}, "dan"),
        ({"EQ": {"home.state": "CA"}}, "bob cid-x"),
        ({"NEQ": {"home.state": "CA"}}, "ann dan"),
        ({"GT": {"age": 10}}, "cid-x dan"),
        ({"GTE": {"age": 10}}, "bob cid-x dan"),
        ({"LT": {"age": 10}}, "ann"),
        ({"LTE": {"age": 10}}, "ann bob"),
        ({"IN": {"home.state": ["NY", "WA"]}}, "ann dan"),
        ({"IN": {"age": [9, 100]}}, "ann cid-x"),
        ({"AND": [{"EQ": {"home.state": "CA"}}, {"LT": {"age": 50}}]}, "bob"),
        ({"OR": [{"EQ": {"name": "ann"}}, {"EQ": {"name": "dan"}}]}, "ann dan"),
        (
            {"OR": [{"EQ": {"name": "ann"}}, {"AND": [{"GT": {"age": 15}}, {"LT": {"age": 50}}]}]},
            "ann dan",
        ),
        ({"EQ": {"name": "ann) | @var1:[0 1000"}}, ""),
    ],
)
async def test_filters(store: Any, filter_: dict[str, Any], names: str) -> None:
    await fill(store)
    found = await store.query({"filter": filter_}, INDEX)
    assert sorted(item.key for item in found.items) == [f"app||{name}" for name in names.split()]
    for item in found.items:
        assert json.loads(item.data) == next(p for p in PEOPLE if item.key.endswith(str(p["name"])))
        assert item.etag == "1"


async def test_order_and_pages(store: Any) -> None:
    await fill(store)
    query: dict[str, Any] = {"sort": [{"key": "age", "order": "DESC"}], "page": {"limit": 3}}
    first = await store.query(query, INDEX)
    assert [item.key for item in first.items] == ["app||cid-x", "app||dan", "app||bob"]
    query["page"]["token"] = first.token
    second = await store.query(query, INDEX)
    assert [item.key for item in second.items] == ["app||ann"]


async def test_an_index_is_made_anew(server: Backend, store: Any) -> None:
    await fill(store)
    other = make(RedisStateStore, redisHost=server.address, queryIndexes=indexes(KEYS[:1]))
    await other.open()
    await until_indexed(other, len(PEOPLE))
    found = await other.query({"filter": {"EQ": {"name": "bob"}}}, INDEX)
    assert [item.key for item in found.items] == ["app||bob"]
    with pytest.raises(QueryError, match="has no key 'age', only name"):
        await other.query({"filter": {"EQ": {"age": 1}}}, INDEX)
    await other.close()


async def test_an_index_that_is_not_configured(store: Any) -> None:
    with pytest.raises(QueryError, match="query index 'nope' is not found"):
        await store.query({}, {"queryIndexName": "nope"})
