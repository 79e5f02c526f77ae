"""What stands in MongoDB, on an emulator: other sidecars read and write the same documents."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.backends import Backend, Backends
from harness.block_api import make
from pymongo import MongoClient

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import EtagError, GetRequest, Json, SetRequest
from dapr_sidecar.components.state.mongodb import MongoDbStateStore
from dapr_sidecar.components.state.query import QueryError

Open = Callable[..., Awaitable[Any]]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def mongodb(backends: Backends) -> Backend:
    return backends.shared("mongodb")


@pytest.fixture
def collection(mongodb: Backend) -> Any:
    with MongoClient[dict[str, Any]](mongodb.address, directConnection=True, tz_aware=True) as c:
        found = c["daprStore"]["daprCollection"]
        found.delete_many({})
        yield found


@pytest.fixture
async def open_store(mongodb: Backend) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        store = make(
            MongoDbStateStore,
            **{"host": mongodb.address, "params": "?directConnection=true", **properties},
        )
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"bytes", "bytes"),
        (b'{"a":1}', '{"a":1}'),
        (b"\x00\xff", b"\x00\xff"),
        (Json("text"), '"text"'),
        (Json(5), "5"),
        (
            Json({"b": [1, 2.5, None], "a": {"$gt": "$x"}}),
            {"b": [1, 2.5, None], "a": {"$gt": "$x"}},
        ),
        (Json([1, "x"]), [1, "x"]),
    ],
)
async def test_documents(collection: Any, open_store: Open, value: Any, stored: Any) -> None:
    store = await open_store()
    await store.set(SetRequest("app||k", value))
    (found,) = collection.find()
    etag = found.pop("_etag")
    assert found == {"_id": "app||k", "value": stored}
    assert UUID.fullmatch(etag)
    assert (await store.get(GetRequest("app||k"))).etag == etag


async def test_expiry(collection: Any, open_store: Open) -> None:
    store = await open_store()
    indexes = collection.index_information().values()
    assert any(one["key"] == [("_ttl", 1)] and one["expireAfterSeconds"] == 0 for one in indexes)
    await store.set(SetRequest("k", b"1", metadata={"ttlInSeconds": "60"}))
    left = collection.find_one({"_id": "k"})["_ttl"] - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=61)
    await store.set(SetRequest("k", b"1"))
    assert "_ttl" not in collection.find_one({"_id": "k"})


async def test_documents_of_others(collection: Any, open_store: Open) -> None:
    store = await open_store()
    past, future = datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    for key, ttl in (("dead", past), ("live", future), ("null", None)):
        collection.insert_one({"_id": key, "value": {"b": 1}, "_etag": "e1", "_ttl": ttl})
    collection.insert_one({"_id": "odd", "value": {"at": past}, "_etag": "e1"})
    found = await store.get(GetRequest("live"))
    assert (found.data, found.etag) == (b'{"b":1}', "e1")
    assert found.metadata == {"ttlExpireTime": "2999-01-01T00:00:00Z"}
    assert (await store.get(GetRequest("null"))).data == b'{"b":1}'
    assert (await store.get(GetRequest("dead"))).data is None
    assert (await store.get(GetRequest("odd"))).data == b'{"at":{"$date":"2001-01-01T00:00:00Z"}}'
    with pytest.raises(EtagError):
        await store.set(SetRequest("dead", b"2", etag="e1"))
    await store.set(SetRequest("dead", b"new", concurrency="first-write"))
    assert (await store.get(GetRequest("dead"))).data == b"new"


async def test_names(mongodb: Backend, open_store: Open) -> None:
    store = await open_store(databaseName="mine", collectionName="things", writeconcern="1")
    await store.set(SetRequest("k", b"1"))
    with MongoClient[dict[str, Any]](mongodb.address, directConnection=True) as client:
        assert client["mine"]["things"].find_one({"_id": "k"})["value"] == "1"


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({"EQ": {"home.state": "CA"}}, "b c"),
        ({"NEQ": {"home.state": "CA"}}, "a"),
        ({"GT": {"n": 1}}, "b c"),
        ({"LTE": {"n": 2}}, "a b"),
        ({"IN": {"n": [1, 10]}}, "a c"),
        ({"AND": [{"EQ": {"home.state": "CA"}}, {"LT": {"n": 5}}]}, "b"),
        ({"OR": [{"EQ": {"n": 1}}, {"EQ": {"n": 2}}]}, "a b"),
        ({"EQ": {"n": "$n"}}, ""),
    ],
)
async def test_queries(
    collection: Any, open_store: Open, filter_: dict[str, Any], names: str
) -> None:
    store = await open_store()
    for key, n, state in (("a", 1, "WA"), ("b", 2, "CA"), ("c", 10, "CA")):
        await store.set(SetRequest(key, Json({"n": n, "home": {"state": state}})))
    dead = {"n": 2, "home": {"state": "CA"}}
    collection.insert_one({"_id": "dead", "value": dead, "_ttl": datetime(2001, 1, 1, tzinfo=UTC)})
    found = await store.query({"filter": filter_}, {})
    assert [item.key for item in found.items] == names.split()
    with pytest.raises(QueryError, match=r"page\.token 'x'"):
        await store.query({"page": {"limit": 1, "token": "x"}}, {})


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "missing required metadata field 'connectionString'"),
        ({"host": "a", "server": "b"}, "'server': 'host' is given, too"),
        ({"host": "a", "readconcern": "some"}, "'readconcern': 'some': expected one of available"),
        ({"host": "a", "operationTimeout": "soon"}, "'operationTimeout': 'soon'"),
        ({"connectionString": "http://u:s3cret@h"}, "invalid metadata field 'connectionString'"),
    ],
)
async def test_what_is_wrong_is_named(properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        await make(MongoDbStateStore, **properties).open()
    assert "s3cret" not in str(caught.value)
