"""Cosmos DB against a stand-in that checks what the emulator does not look at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.stand_in_cosmos import KEY, TOKEN, StandInCosmos, stand_in_cosmos

from dapr_sidecar.components.cosmosdb.signing import by_key
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    GetRequest,
    Json,
    SetRequest,
)
from dapr_sidecar.components.state.cosmosdb import CosmosDbStateStore

IN_P = {"partitionKey": "p"}


@pytest.fixture
def cosmos() -> Iterator[StandInCosmos]:
    with stand_in_cosmos() as found:
        yield found


def make_store(cosmos: StandInCosmos, **more: str) -> Any:
    names = {"url": cosmos.url, "database": "db", "collection": "col", "masterKey": KEY}
    return make(CosmosDbStateStore, **{**names, **more})


@pytest.fixture
async def store(cosmos: StandInCosmos) -> AsyncIterator[Any]:
    found = make_store(cosmos)
    await found.open()
    yield found
    await found.close()


def test_the_documented_signature() -> None:
    """The example of the REST reference's page on access control."""
    key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw=="
    import base64

    header = by_key(
        "GET", "dbs", "dbs/ToDoList", "Thu, 27 Apr 2017 00:51:12 GMT", base64.b64decode(key)
    )
    expected = "c09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2bc%2bc%3d"
    assert header.lower() == f"type%3dmaster%26ver%3d1.0%26sig%3d{expected}".lower()


async def test_partitions(cosmos: StandInCosmos, store: Any) -> None:
    await store.set(SetRequest("a||k", Json(1)))
    await store.set(SetRequest("a||k", Json(2), metadata=IN_P))
    assert {place: found["value"] for place, found in cosmos.documents.items()} == {
        ("a||k", "a||k"): 1,
        ("p", "a||k"): 2,
    }
    assert (await store.get(GetRequest("a||k"))).data == b"1"
    assert (await store.get(GetRequest("a||k", metadata=IN_P))).data == b"2"
    await store.delete(DeleteRequest("a||k", metadata=IN_P))
    assert list(cosmos.documents) == [("a||k", "a||k")]
    await store.set(SetRequest("ü€😀", b"1"))
    assert (await store.get(GetRequest("ü€😀"))).data == b"1"


@pytest.mark.parametrize(
    ("content_type", "data", "value", "is_binary"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}, False),
        ("application/json", b"[1]", "WzFd", True),
        ("application/json", b"text", "dGV4dA==", True),
        ("application/cloudevents+json; charset=utf-8", b'{"a": 1}', {"a": 1}, False),
        ("text/plain", b"text", "text", False),
        ("application/octet-stream", b'{"a": 1}', "eyJhIjogMX0=", True),
    ],
)
async def test_what_bytes_become(
    cosmos: StandInCosmos, content_type: str, data: bytes, value: Any, is_binary: bool
) -> None:
    store = make_store(cosmos, contentType=content_type)
    await store.open()
    await store.set(SetRequest("k", data))
    found = cosmos.documents["k", "k"]
    assert (found["value"], found["isBinary"]) == (value, is_binary)
    await store.close()


async def test_expiry(cosmos: StandInCosmos, store: Any) -> None:
    for ttl, expected in (("60", 60), ("-1", -1), ("0", -1)):
        await store.set(SetRequest("k", b"1", metadata={"ttlInSeconds": ttl}))
        assert cosmos.documents["k", "k"]["ttl"] == expected
    await store.set(SetRequest("k", b"1"))
    assert "ttl" not in cosmos.documents["k", "k"]


async def test_a_transaction_needs_one_partition(store: Any) -> None:
    with pytest.raises(ValueError, match="name it in the metadata as 'partitionKey'"):
        await store.transact([SetRequest("a", b"1"), SetRequest("b", b"2")], {})
    await store.transact([SetRequest("a", b"1"), DeleteRequest("a")], {})
    operations = [SetRequest(key, b"1", metadata=IN_P) for key in "ab"]
    await store.transact(operations, {})
    assert (await store.get(GetRequest("b", metadata=IN_P))).data == b"1"


async def test_transactions_know_etags_and_first_writes(store: Any) -> None:
    await store.transact([SetRequest("a", b"1", concurrency="first-write")], IN_P)
    for wrong in (
        SetRequest("a", b"2", concurrency="first-write"),
        SetRequest("a", b"2", etag='"x"'),
        SetRequest("none", b"2", etag='"x"'),
        DeleteRequest("a", etag='"x"'),
        DeleteRequest("none", etag='"x"'),
    ):
        with pytest.raises(EtagError):
            await store.transact([SetRequest("b", b"1"), wrong], IN_P)
    assert (await store.get(GetRequest("b", metadata=IN_P))).data is None
    etag = (await store.get(GetRequest("a", metadata=IN_P))).etag
    await store.transact([SetRequest("a", b"2", etag=etag), DeleteRequest("none")], IN_P)
    assert (await store.get(GetRequest("a", metadata=IN_P))).data == b"2"
    assert store.max_operations == 100


async def test_a_busy_service_is_asked_again(cosmos: StandInCosmos, store: Any) -> None:
    cosmos.busy = 3
    await store.set(SetRequest("k", b"1"))
    cosmos.busy = 100
    with pytest.raises(Exception, match="status 429: too many requests"):
        await store.get(GetRequest("k"))


async def test_the_session_goes_along(cosmos: StandInCosmos, store: Any) -> None:
    await store.set(SetRequest("k", b"1"))
    place = len(cosmos.requests)
    await store.get(GetRequest("k"))
    assert cosmos.requests[-1][2]["x-ms-session-token"] == f"0:-1#{place}"


async def test_a_query_within_a_partition_says_so(cosmos: StandInCosmos, store: Any) -> None:
    await store.set(SetRequest("k", Json({"a": 1}), metadata=IN_P))
    found = await store.query({"filter": {"EQ": {"a": 1}}, "page": {"limit": 7}}, IN_P)
    assert [item.key for item in found.items] == ["k"]
    headers = cosmos.requests[-1][2]
    assert headers["x-ms-documentdb-partitionkey"] == '["p"]'
    assert headers["x-ms-max-item-count"] == "7"
    assert "x-ms-documentdb-query-enablecrosspartition" not in headers


async def test_another_partition_key_is_named() -> None:
    with stand_in_cosmos("/id") as cosmos:
        store = make_store(cosmos)
        with pytest.raises(SettingsError, match="its partition key is /id, it must be /partitionK"):
            await store.open()
        await store.close()


async def test_a_wrong_key(cosmos: StandInCosmos) -> None:
    store = make_store(cosmos, masterKey="d3Jvbmc=")
    with pytest.raises(Exception, match="status 401: the signature is not good") as caught:
        await store.open()
    assert "d3Jvbmc" not in str(caught.value)
    await store.close()


@pytest.mark.parametrize("how", ["secret", "certificate", "federated", "machine"])
async def test_tokens_of_a_stand_in_directory(
    cosmos: StandInCosmos, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from harness.stand_in_entra import certificate_pem, stand_in_entra

    with stand_in_entra(TOKEN) as directory:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", directory.url)
        login = {"azureTenantId": "tenant", "azureClientId": "me"}
        if how == "secret":
            login["azureClientSecret"] = "s3cret"
        elif how == "certificate":
            login["azureCertificate"] = certificate_pem()
        elif how == "federated":
            (tmp_path / "token").write_text("jwt\n")
            monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
        else:
            login = {}
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{directory.url}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", "mine")
        store = make_store(cosmos, masterKey="", **login)
        await store.open()
        await store.set(SetRequest("k", b"1"))
        assert (await store.get(GetRequest("k"))).data == b"1"
        await store.close()
    (asked,) = directory.asked  # kept for the three calls
    if how == "machine":
        assert "resource=http%3A%2F%2F127.0.0.1" in asked
    else:
        assert "scope=http%3A%2F%2F127.0.0.1%2F.default" in asked
        assert {
            "secret": "client_secret=s3cret",
            "certificate": "client_assertion=eyJ",
            "federated": "client_assertion=jwt",
        }[how] in asked


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"url": ""}, "missing required metadata field 'url'"),
        ({"database": ""}, "missing required metadata field 'database'"),
        ({"url": "nowhere"}, "'url': 'nowhere': expected a URL"),
        ({"masterKey": "s3cret!"}, "'masterKey': the value: expected base64"),
        ({"masterKey": "", "azureClientSecret": "x"}, "missing required metadata field 'azureTe"),
        ({"azureEnvironment": "Moon"}, "'azureEnvironment': 'Moon': expected one of"),
    ],
)
def test_what_is_wrong_is_named(
    more: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    names = {"url": "http://h", "database": "db", "collection": "col", "masterKey": KEY}
    with pytest.raises(SettingsError, match=text) as caught:
        make(CosmosDbStateStore, **{**names, **more})
    assert "s3cret" not in str(caught.value)


def test_the_stand_in_refuses_what_the_service_refuses() -> None:
    cosmos = StandInCosmos()
    for document, text in (
        ({"id": "a/b", "partitionKey": "p"}, "the id is not allowed"),
        ({"id": "a", "partitionKey": "q"}, "does not match"),
        ({"id": "a", "partitionKey": "p", "ttl": 0}, "the ttl is not allowed"),
    ):
        with pytest.raises(Exception, match=text):
            cosmos.write("p", "Upsert", json.loads(json.dumps(document)), None)
