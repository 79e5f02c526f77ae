"""What stands in etcd, seen through its JSON gateway: other sidecars use the same keys."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from harness.backends import Backend, Backends
from harness.block_api import make
from harness.programs import Program, accepts_connections, free_port

from dapr_sidecar.components.etcd.client import EtcdError
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import (
    BulkError,
    DeleteRequest,
    EtagError,
    GetRequest,
    Json,
    SetRequest,
)
from dapr_sidecar.components.state.etcd_v1 import EtcdV1StateStore
from dapr_sidecar.components.state.etcd_v2 import EtcdV2StateStore

Open = Callable[..., Awaitable[Any]]
TTL = {"ttlInSeconds": "100"}


@pytest.fixture
def etcd(backends: Backends) -> Backend:
    return backends.shared("etcd")


def post(etcd: Backend, path: str, **body: object) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{etcd.address}/v3/{path}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def encoded(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def record(etcd: Backend, key: str) -> dict[str, Any]:
    (found,) = post(etcd, "kv/range", key=encoded(key))["kvs"]
    return {**found, "value": base64.b64decode(found["value"])}


def leases(etcd: Backend) -> set[str]:
    return {one["ID"] for one in post(etcd, "kv/lease/leases").get("leases", [])}


@pytest.fixture
async def open_store(etcd: Backend) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(kind: type[Any], **properties: str) -> Any:
        store = make(kind, **{"endpoints": etcd.address, **properties})
        made.append(store)
        await store.open()
        return store

    yield run
    for store in made:
        await store.close()


@pytest.mark.parametrize(("path", "prefix"), [("", "/"), ("dapr/state", "dapr/state/")])
async def test_keys(etcd: Backend, open_store: Open, path: str, prefix: str) -> None:
    store = await open_store(EtcdV1StateStore, keyPrefixPath=path)
    await store.set(SetRequest("app||k", Json({"b": 1, "a": "<"})))
    found = record(etcd, prefix + "app||k")
    assert found["value"] == rb'{"a":"\u003c","b":1}'
    assert "lease" not in found
    assert (await store.get(GetRequest("app||k"))).etag == found["mod_revision"]


async def test_v2_values(etcd: Backend, open_store: Open) -> None:
    store = await open_store(EtcdV2StateStore)
    await store.set(SetRequest("v2-plain", b"\x00\xff"))
    value = record(etcd, "/v2-plain")["value"]
    # Field 1: two bytes; field 2: a timestamp whose field 1 is the seconds; no field 3.
    assert value[:6] == b"\x0a\x02\x00\xff\x12" + value[5:6]
    assert len(value) == 6 + value[5]
    seconds = sum((byte & 0x7F) << 7 * n for n, byte in enumerate(value[7:12]))
    assert abs(seconds - time.time()) < 100
    await store.set(SetRequest("v2-ttl", b"", metadata=TTL))
    assert record(etcd, "/v2-ttl")["value"].endswith(b"\x1a\x02\x08\x64")  # field 3: 100 s


@pytest.mark.parametrize("kind", [EtcdV1StateStore, EtcdV2StateStore])
async def test_a_lease_takes_the_key_away(etcd: Backend, open_store: Open, kind: Any) -> None:
    store = await open_store(kind)
    await store.set(SetRequest("leased", b"1", metadata=TTL))
    lease = record(etcd, "/leased")["lease"]
    told = post(etcd, "kv/lease/timetolive", ID=lease)
    assert told["grantedTTL"] == "100"
    await store.set(SetRequest("leased", b"2"))
    assert "lease" not in record(etcd, "/leased")


async def test_a_write_that_lost_leaves_no_lease(etcd: Backend, open_store: Open) -> None:
    store = await open_store(EtcdV1StateStore)
    await store.set(SetRequest("lost", b"1"))
    before = leases(etcd)
    with pytest.raises(EtagError):
        await store.set(SetRequest("lost", b"2", etag="1", metadata=TTL))
    assert leases(etcd) <= before  # one of another test may end meanwhile


async def test_keys_of_others(etcd: Backend, open_store: Open) -> None:
    store = await open_store(EtcdV2StateStore)
    post(etcd, "kv/put", key=encoded("/theirs"), value=encoded(b"\x0a\x01x"))
    assert (await store.get(GetRequest("theirs"))).data == b"x"
    post(etcd, "kv/put", key=encoded("/v1"), value=encoded(b"{not a message"))
    with pytest.raises(EtcdError, match="was it version 1"):
        await store.get(GetRequest("v1"))


async def test_bulk_beyond_one_transaction(open_store: Open) -> None:
    store = await open_store(EtcdV1StateStore, maxTxnOps="16", keyPrefixPath="bulk")
    keys = [f"k{n}" for n in range(100)]
    await store.bulk_set([SetRequest(key, key.encode()) for key in keys])
    found = await store.bulk_get([GetRequest(key) for key in keys], 0)
    assert [item.data for item in found] == [key.encode() for key in keys]
    requests = [SetRequest("k0", b"new"), SetRequest("k1", b"", metadata={"ttlInSeconds": "x"})]
    with pytest.raises(BulkError) as caught:
        await store.bulk_set(requests)
    assert list(caught.value.errors) == [1]
    assert (await store.get(GetRequest("k0"))).data == b"new"
    await store.bulk_delete([DeleteRequest(key) for key in keys])
    assert all(item.data is None for item in await store.bulk_get([GetRequest("k5")], 0))


async def test_the_largest_transaction_is_said(open_store: Open) -> None:
    assert (await open_store(EtcdV1StateStore)).max_operations == 128
    assert (await open_store(EtcdV1StateStore, maxTxnOps="16")).max_operations == 16


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "missing required metadata field 'endpoints'"),
        ({"endpoints": "host"}, "'endpoints': 'host': expected host:port"),
        ({"endpoints": "a:1", "maxTxnOps": "0"}, "'maxTxnOps': '0': expected 1 or more"),
        ({"endpoints": "a:1", "maxTxnOps": "some"}, "'maxTxnOps': 'some'"),
        ({"endpoints": "a:1", "tlsEnable": "true", "ca": "no PEM"}, "'ca': expected certificates"),
        ({"endpoints": "a:1", "tlsEnable": "true", "cert": "x"}, "field 'key': 'cert' is given"),
    ],
)
def test_what_is_wrong_is_named(properties: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        make(EtcdV1StateStore, **properties)


async def test_mutual_tls(backends: Backends, tmp_path: Path) -> None:
    program = backends.program("etcd")
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1", "localhost"), ca.issue_cert("client.example")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    command = [program, "--data-dir", str(tmp_path / "data"), "--listen-client-urls", url]
    command += ["--advertise-client-urls", url, "--client-cert-auth"]
    command += ["--listen-peer-urls", f"http://127.0.0.1:{free_port()}"]
    for flag, file in (("trusted-ca-file", "ca"), ("cert-file", "cert"), ("key-file", "key")):
        command += [f"--{flag}", str(tmp_path / f"{file}.pem")]
    settings = {"endpoints": f"127.0.0.1:{port}", "tlsEnable": "true"}
    settings["ca"] = ca.cert_pem.bytes().decode()
    async with TlsEtcd(command, port):
        pair = {
            "cert": client.cert_chain_pems[0].bytes().decode(),
            "key": client.private_key_pem.bytes().decode(),
        }
        store = make(EtcdV1StateStore, **settings, **pair)
        await store.open()
        await store.set(SetRequest("k", b"1"))
        assert (await store.get(GetRequest("k"))).data == b"1"
        await store.close()
        stranger = make(EtcdV1StateStore, **settings)
        with pytest.raises(EtcdError, match=f"etcd at 127.0.0.1:{port}"):
            await stranger.open()
        await stranger.close()


class TlsEtcd(Program):
    def __init__(self, command: list[str], port: int) -> None:
        super().__init__(command, name="etcd", exit_code=None)
        self._port = port

    def is_ready(self) -> bool:
        return accepts_connections(self._port)
