"""What stands in DynamoDB, on the vendor's emulator: other sidecars use the same items."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from harness import dynamodb_calls
from harness.backends import Backend, Backends
from harness.block_api import make

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import (
    BulkError,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    Json,
    SetRequest,
)
from dapr_sidecar.components.state.dynamodb import DynamoDbStateStore

Open = Callable[..., Awaitable[Any]]
KEYS = {"region": "eu-west-1", "accessKey": "a", "secretKey": "b"}
HEX = re.compile(r"[0-9a-f]{16}")


@pytest.fixture
def dynamodb(backends: Backends) -> Backend:
    found = backends.shared("dynamodb")
    dynamodb_calls.create_table(found.address, "layout")
    dynamodb_calls.create_table(found.address, "mykey", "my.key")
    return found


@pytest.fixture
async def open_store(dynamodb: Backend) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        given = {"endpoint": f"http://{dynamodb.address}", "table": "layout", **KEYS, **properties}
        store = make(DynamoDbStateStore, **given)
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


def item(dynamodb: Backend, key: str, table: str = "layout", name: str = "key") -> dict[str, Any]:
    found = dynamodb_calls.call(
        dynamodb.address, "GetItem", TableName=table, Key={name: {"S": key}}, ConsistentRead=True
    )
    record: dict[str, Any] = found["Item"]
    return record


async def test_items(dynamodb: Backend, open_store: Open) -> None:
    store = await open_store()
    await store.set(SetRequest("app||k", Json({"b": 1, "a": "ü"})))
    found = item(dynamodb, "app||k")
    etag = found.pop("etag")["S"]
    assert found == {"key": {"S": "app||k"}, "value": {"S": '{"a":"ü","b":1}'}}
    assert HEX.fullmatch(etag)
    assert (await store.get(GetRequest("app||k"))).etag == etag


async def test_bytes_that_are_no_text_are_kept_as_bytes(
    dynamodb: Backend, open_store: Open
) -> None:
    store = await open_store()
    await store.set(SetRequest("bytes", b"\x00\xff"))
    assert item(dynamodb, "bytes")["value"] == {"B": "AP8="}
    await store.set(SetRequest("bytes", b"plain"))
    assert item(dynamodb, "bytes")["value"] == {"S": "plain"}


async def test_expiry(dynamodb: Backend, open_store: Open) -> None:
    store = await open_store(ttlAttributeName="goes")
    assert store.feature_order == (Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL)
    await store.set(SetRequest("ttl", b"1", metadata={"ttlInSeconds": "60"}))
    expires = int(item(dynamodb, "ttl")["goes"]["N"])
    assert 55 <= expires - time.time() <= 61
    await store.set(SetRequest("ttl", b"2", metadata={"ttlInSeconds": "-1"}))
    assert "goes" not in item(dynamodb, "ttl")


async def test_without_an_attribute_nothing_expires(dynamodb: Backend, open_store: Open) -> None:
    store = await open_store()
    assert Feature.TTL not in store.features
    await store.set(SetRequest("forever", b"1", metadata={"ttlInSeconds": "1"}))
    assert set(item(dynamodb, "forever")) == {"key", "value", "etag"}


async def test_another_key_attribute(dynamodb: Backend, open_store: Open) -> None:
    store = await open_store(table="mykey", partitionKey="my.key")
    await store.set(SetRequest("k", b"1", concurrency="first-write"))
    with pytest.raises(EtagError):
        await store.set(SetRequest("k", b"2", concurrency="first-write"))
    assert item(dynamodb, "k", "mykey", "my.key")["value"] == {"S": "1"}
    found = await store.bulk_get([GetRequest("k"), GetRequest("none"), GetRequest("k")], 0)
    assert [one.data for one in found] == [b"1", None, b"1"]


async def test_items_of_others(dynamodb: Backend, open_store: Open) -> None:
    store = await open_store(ttlAttributeName="goes")
    theirs = {"key": {"S": "theirs"}, "value": {"S": '"x"'}, "etag": {"S": "e1"}}
    for name, expires in (("theirs", "32503680000"), ("dead", "1")):
        put = {**theirs, "key": {"S": name}, "goes": {"N": expires}}
        dynamodb_calls.call(dynamodb.address, "PutItem", TableName="layout", Item=put)
    found = await store.get(GetRequest("theirs"))
    assert (found.data, found.etag) == (b'"x"', "e1")
    assert found.metadata == {"ttlExpireTime": "3000-01-01T00:00:00Z"}
    assert (await store.get(GetRequest("dead"))).data is None
    with pytest.raises(EtagError):
        await store.delete(DeleteRequest("dead", etag="e1"))
    await store.set(SetRequest("dead", b"new", concurrency="first-write"))
    assert (await store.get(GetRequest("dead"))).data == b"new"


async def test_the_first_condition_on_a_key_holds(open_store: Open) -> None:
    """The service takes one operation per item; none of the conditions is dropped."""
    store = await open_store()
    await store.set(SetRequest("cond", b"0"))
    operations = [SetRequest("cond", b"1", etag="wrong"), SetRequest("cond", b"2")]
    with pytest.raises(EtagError):
        await store.transact(operations, {})
    assert (await store.get(GetRequest("cond"))).data == b"0"
    operations[0].etag = (await store.get(GetRequest("cond"))).etag
    await store.transact(operations, {})
    assert (await store.get(GetRequest("cond"))).data == b"2"


async def test_bulk_beyond_one_call(open_store: Open) -> None:
    store = await open_store(ttlAttributeName="goes")
    keys = [f"bulk{n}" for n in range(230)]
    await store.bulk_set([SetRequest(key, key.encode()) for key in keys])
    found = await store.bulk_get([GetRequest(key) for key in keys], 0)
    assert [one.data for one in found] == [key.encode() for key in keys]
    await store.bulk_delete([DeleteRequest(key) for key in keys])
    assert all(one.data is None for one in await store.bulk_get([GetRequest("bulk7")], 0))
    requests = [SetRequest("b0", b"", metadata={"ttlInSeconds": "x"}), SetRequest("b1", b"1")]
    with pytest.raises(BulkError) as caught:
        await store.bulk_set(requests)
    assert list(caught.value.errors) == [0]
    assert (await store.get(GetRequest("b1"))).data == b"1"


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"table": "nope"}, "'table': 'nope': there is no such table"),
        ({"partitionKey": "id"}, "'partitionKey': 'id': the table 'layout' has another"),
    ],
)
async def test_what_the_table_does_not_have_is_named(
    open_store: Open, properties: dict[str, str], text: str
) -> None:
    with pytest.raises(SettingsError, match=text):
        await open_store(**properties)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (KEYS, "missing required metadata field 'table'"),
        ({**KEYS, "table": "t", "endpoint": "nowhere"}, "'endpoint': 'nowhere': expected a URL"),
    ],
)
def test_what_is_wrong_is_named(properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make(DynamoDbStateStore, **properties)
