"""One app on one API: the manifest says which store it is, the app's code does not know."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness.backends import Backends
from harness.dynamodb_calls import create_table
from harness.sidecar import Manifest, Sidecar, component
from harness.stand_in_cosmos import KEY, StandInCosmos, stand_in_cosmos

Headers = dict[str, str]


class App:
    """The app; nothing in it depends on the store."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._port = sidecar.http_port

    def call(
        self, method: str, path: str, body: object = None, headers: Headers | None = None
    ) -> tuple[int, Any, Headers]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        raw = None if body is None else json.dumps(body)
        connection.request(method, f"/v1.0/state/orders{path}", raw, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(text) if text else None, found

    def place_orders(self) -> list[Any]:
        """What the app does; returns all it sees."""
        seen: list[Any] = []
        orders = [{"key": f"order-{n}", "value": {"id": n, "item": "päckli"}} for n in (1, 2, 3)]
        seen.append(self.call("POST", "", orders)[0])
        status, value, headers = self.call("GET", "/order-1")
        seen += [status, value]
        change = {"key": "order-1", "value": {"id": 1, "state": "paid"}, "etag": headers["etag"]}
        options = {"options": {"concurrency": "first-write"}}
        seen.append(self.call("POST", "", [{**change, **options}])[0])
        seen.append(self.call("POST", "", [{**change, **options}])[0])  # that etag is stale now
        seen.append(self.call("GET", "/order-1")[1])
        seen.append(self.call("DELETE", "/order-2")[0])
        status, found, _ = self.call("POST", "/bulk", {"keys": ["order-1", "order-2", "order-3"]})
        seen += [status, sorted((one["key"], json.dumps(one.get("data"))) for one in found)]
        return [*seen, *self.settle_accounts()]

    def settle_accounts(self) -> list[Any]:
        """Two keys change together. The partition is a word that most stores have no use for."""
        together = {"partitionKey": "account-7"}
        operations = [
            {"operation": "upsert", "request": {"key": "balance", "value": 5}},
            {"operation": "upsert", "request": {"key": "log", "value": ["-5"]}},
        ]
        body = {"operations": operations, "metadata": together}
        seen: list[Any] = [self.call("POST", "/transaction", body)[0]]
        where = "?metadata.partitionKey=account-7"
        seen += [self.call("GET", f"/{key}{where}")[1] for key in ("balance", "log")]
        seen.append(self.call("DELETE", f"/log{where}")[0])
        seen.append(self.call("GET", f"/log{where}")[0])
        return seen


SEEN = [
    204,
    200,
    {"id": 1, "item": "päckli"},
    204,
    409,
    {"id": 1, "state": "paid"},
    204,
    200,
    [
        ("order-1", '{"id": 1, "state": "paid"}'),
        ("order-2", "null"),
        ("order-3", '{"id": 3, "item": "p\\u00e4ckli"}'),
    ],
    204,
    5,
    ["-5"],
    204,
    204,
]


@pytest.fixture(scope="module")
def cosmos() -> Iterator[StandInCosmos]:
    with stand_in_cosmos() as found:
        yield found


def manifest(kind: str, backends: Backends, cosmos: StandInCosmos) -> Manifest:
    """What an operator of the app writes: the only thing that differs."""
    if kind == "state.redis":
        return component("orders", kind, redisHost=backends.shared("redis").address)
    if kind == "state.aws.dynamodb":
        address = backends.shared("dynamodb").address
        create_table(address, "orders")
        keys = {"region": "eu-west-1", "accessKey": "a", "secretKey": "b"}
        return component("orders", kind, endpoint=f"http://{address}", table="orders", **keys)
    if kind == "state.azure.cosmosdb":
        names = {"database": "db", "collection": "col", "masterKey": KEY}
        return component("orders", kind, url=cosmos.url, **names)
    if kind == "state.postgresql":
        port = backends.shared("postgres").port
        text = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        return component("orders", kind, version="v2", connectionString=text)
    if kind == "state.mongodb":
        host = backends.shared("mongodb").address
        return component("orders", kind, host=host, params="?directConnection=true")
    if kind == "state.etcd":
        return component("orders", kind, version="v2", endpoints=backends.shared("etcd").address)
    return component("orders", kind, connectionString=":memory:")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "state.redis",
        "state.aws.dynamodb",
        "state.azure.cosmosdb",
        "state.postgresql",
        "state.mongodb",
        "state.etcd",
        "state.sqlite",
    ],
)
def test_the_manifest_switches_the_store_emulators_and_a_stand_in_for_cosmos(
    kind: str, backends: Backends, cosmos: StandInCosmos
) -> None:
    with Sidecar("shop", resources=[manifest(kind, backends, cosmos)]) as sidecar:
        assert App(sidecar).place_orders() == SEEN
        metadata = http.client.HTTPConnection("127.0.0.1", sidecar.http_port, timeout=10)
        metadata.request("GET", "/v1.0/metadata")
        (loaded,) = json.loads(metadata.getresponse().read())["components"]
        metadata.close()
    assert (loaded["name"], loaded["type"]) == ("orders", kind)
    assert "ACTOR" in loaded["capabilities"]
