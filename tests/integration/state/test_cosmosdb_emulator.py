"""Cosmos DB on its emulator: documents, etags and queries over all partitions; it has no more."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness import cosmos_emulator
from harness.backends import Backends
from harness.block_api import make

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    GetRequest,
    Json,
    SetRequest,
)
from dapr_sidecar.components.state.cosmosdb import CosmosDbStateStore


@pytest.fixture(scope="module")
def url(backends: Backends) -> Iterator[str]:
    with cosmos_emulator.clear_text(backends.shared("cosmos").port) as found:
        cosmos_emulator.create_container(found)
        yield found


def properties(url: str, **more: str) -> dict[str, str]:
    names = {"url": url, "database": "db", "collection": "col"}
    return {**names, "masterKey": cosmos_emulator.KEY, **more}


@pytest.fixture
async def store(url: str) -> AsyncIterator[Any]:
    found = make(CosmosDbStateStore, **properties(url))
    await found.open()
    yield found
    await found.close()


def document(url: str, key: str) -> dict[str, Any]:
    quoted = urllib.request.quote(key, safe="")  # type: ignore[attr-defined]
    request = urllib.request.Request(f"{url}/dbs/db/colls/col/docs/{quoted}")
    request.add_header("x-ms-documentdb-partitionkey", json.dumps([key]))
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


async def test_documents(url: str, store: Any) -> None:
    await store.set(SetRequest("app||json", Json({"b": 1, "a": "ü"})))
    await store.set(SetRequest("app||bytes", b"\x00\xff"))
    found = document(url, "app||json")
    assert {name: found[name] for name in ("id", "value", "isBinary", "partitionKey")} == {
        "id": "app||json",
        "value": {"b": 1, "a": "ü"},
        "isBinary": False,
        "partitionKey": "app||json",
    }
    read = await store.get(GetRequest("app||json"))
    assert (read.data, read.etag) == ('{"a":"ü","b":1}'.encode(), found["_etag"])
    found = document(url, "app||bytes")
    assert (found["value"], found["isBinary"]) == (base64.b64encode(b"\x00\xff").decode(), True)
    assert (await store.get(GetRequest("app||bytes"))).data == b"\x00\xff"


async def test_etags(store: Any) -> None:
    await store.set(SetRequest("etags", b"1", concurrency="first-write"))
    with pytest.raises(EtagError):
        await store.set(SetRequest("etags", b"2", concurrency="first-write"))
    old = (await store.get(GetRequest("etags"))).etag
    await store.set(SetRequest("etags", b"2", etag=old))
    with pytest.raises(EtagError):
        await store.set(SetRequest("etags", b"3", etag=old))
    with pytest.raises(EtagError):
        await store.delete(DeleteRequest("etags", etag=old))
    await store.delete(DeleteRequest("etags", etag=(await store.get(GetRequest("etags"))).etag))


async def test_queries_over_all_partitions(store: Any) -> None:
    for n, state in enumerate(("CA", "WA", "CA", "NY")):
        value = {"kind": "q", "n": n, "home": {"state": state}}
        await store.set(SetRequest(f"q{n}", Json(value)))

    async def keys(filter_: dict[str, Any]) -> list[str]:
        wanted = {"AND": [{"EQ": {"kind": "q"}}, filter_]}
        found = await store.query({"filter": wanted, "sort": [{"key": "n", "order": "DESC"}]}, {})
        return [item.key for item in found.items]

    assert await keys({"EQ": {"home.state": "CA"}}) == ["q2", "q0"]
    assert await keys({"NEQ": {"home.state": "CA"}}) == ["q3", "q1"]
    assert await keys({"GT": {"n": 1}}) == ["q3", "q2"]
    assert await keys({"LTE": {"n": 1}}) == ["q1", "q0"]
    assert await keys({"IN": {"home.state": ["NY", "WA"]}}) == ["q3", "q1"]
    assert await keys({"OR": [{"EQ": {"n": 0}}, {"EQ": {"n": 3}}]}) == ["q3", "q0"]
    assert await keys({"EQ": {"ho\"me'": "x"}}) == []


async def test_a_container_that_is_not_there(url: str) -> None:
    store = make(CosmosDbStateStore, **properties(url, collection="nope"))
    with pytest.raises(SettingsError, match="'collection': 'nope': there is no such container"):
        await store.open()
    await store.close()
