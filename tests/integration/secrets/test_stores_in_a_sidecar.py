"""Secret stores in a real sidecar: over both APIs, and for the components that name them."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.backends import Backend, Backends
from harness.http_call import acall
from harness.programs import free_port
from harness.redis_server import is_available, redis_server
from harness.secret_preparations import aws_call, gcp_call, keyvault_call, vault_call
from harness.sidecar import Manifest, Sidecar, component

from dapr_common.grpc.client import GrpcChannel
from dapr_common.wire.dapr.proto.runtime.v1 import secret_pb2

PASSWORD = "pw-s3cr3t-w0rd"
Made = tuple[Manifest, dict[str, str]]
"""A secret store that knows the password as ``redis-pw``, and what its sidecar needs."""


def _vault(backends: Backends) -> Made:
    server = backends.shared("vault")
    facts = {"backend": server.address, **server.facts}
    vault_call(facts, "POST", "secret/data/dapr/redis-pw", {"data": {"redis-pw": PASSWORD}})
    url = f"http://{server.address}"
    return component("s", "secretstores.hashicorp.vault", vaultAddr=url, vaultToken="root"), {}


def _keyvault(backends: Backends) -> Made:
    server = backends.shared("keyvault")
    facts = {"backend": server.address, **server.facts}
    keyvault_call(facts, "PUT", "/secrets/redis-pw", {"value": PASSWORD})
    url = f"https://{server.address}"
    app = {"azureTenantId": "tenant", "azureClientId": "app", "azureClientSecret": "x"}
    made = component("s", "secretstores.azure.keyvault", vaultName="abc", endpoint=url, **app)
    return made, {"SSL_CERT_FILE": server.facts["ca"], "AZURE_AUTHORITY_HOST": url}


def _aws(backends: Backends, kind: str, service: str, target: str, **request: Any) -> Made:
    server = backends.shared("aws")
    facts = {"backend": server.address}
    aws_call(facts, service, target, **request)
    url = f"http://{server.address}"
    keys = {"region": "eu-west-1", "accessKey": "x", "secretKey": "x"}
    return component("s", f"secretstores.aws.{kind}", endpoint=url, **keys), {}


def _secretmanager(backends: Backends) -> Made:
    name = f"redis-pw-{secrets.token_hex(4)}"
    made = _aws(
        backends,
        "secretmanager",
        "secretsmanager",
        "secretsmanager.CreateSecret",
        Name=name,
        SecretString=json.dumps({"redis-pw": PASSWORD}),
    )
    multiple = {"name": "multipleKeyValuesPerSecret", "value": "true"}
    made[0]["spec"]["metadata"].append(multiple)
    made[0]["secret"] = name
    return made


def _parameterstore(backends: Backends) -> Made:
    return _aws(
        backends,
        "parameterstore",
        "ssm",
        "AmazonSSM.PutParameter",
        Name="redis-pw",
        Value=PASSWORD,
        Type="SecureString",
        Overwrite=True,
    )


def _gcp(backends: Backends) -> Made:
    server = backends.shared("gcp-secrets")
    facts = {"backend": server.address}
    gcp_call(facts, "CreateSecret", b"projects/sidecar", b"redis-pw", b"")
    payload = bytes((10, len(PASSWORD))) + PASSWORD.encode()
    gcp_call(facts, "AddSecretVersion", b"projects/sidecar/secrets/redis-pw", payload)
    kind = "secretstores.gcp.secretmanager"
    return component("s", kind, projectID="sidecar", endpoint=server.address), {}


STORES: list[Callable[[Backends], Made]] = [
    _vault,
    _keyvault,
    _secretmanager,
    _parameterstore,
    _gcp,
]


@pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
@pytest.mark.parametrize("make_store", STORES, ids=lambda make: make.__name__.strip("_"))
async def test_a_state_store_has_its_password_from_there(
    backends: Backends, make_store: Callable[[Backends], Made]
) -> None:
    manifest, environment = make_store(backends)
    secret = manifest.pop("secret", "redis-pw")
    with redis_server() as redis:
        redis.call("CONFIG", "SET", "requirepass", PASSWORD)
        state = component("state", "state.redis", redisHost=redis.address)
        reference = {"name": secret, "key": "redis-pw"}
        state["spec"]["metadata"].append({"name": "redisPassword", "secretKeyRef": reference})
        state["auth"] = {"secretStore": "s"}
        scope = {"storeName": "s", "deniedSecrets": ["DENIED"]}
        async with Sidecar(
            resources=[state, manifest], env=environment, config={"secrets": {"scopes": [scope]}}
        ) as sidecar:
            port = sidecar.http_port
            saved = await acall(port, "POST", "/v1.0/state/state", [{"key": "k", "value": 1}])
            assert saved.status == 204, saved.body
            assert (await acall(port, "GET", "/v1.0/state/state/k")).json == 1
            got = await acall(port, "GET", f"/v1.0/secrets/s/{secret}")
            assert (got.status, got.json) == (200, {"redis-pw": PASSWORD})
            bulk = await acall(port, "GET", "/v1.0/secrets/s/bulk")
            assert bulk.json[secret] == {"redis-pw": PASSWORD}
            gone = await acall(port, "GET", "/v1.0/secrets/s/none")
            assert (gone.status, gone.code) == (500, "ERR_SECRET_GET")
            assert "secret none not found" in gone.json["message"]
            denied = await acall(port, "GET", "/v1.0/secrets/s/DENIED")
            assert (denied.status, denied.code) == (403, "ERR_PERMISSION_DENIED")
            assert await over_grpc(sidecar, secret) == {"redis-pw": PASSWORD}
        assert PASSWORD not in sidecar.log


async def over_grpc(sidecar: Sidecar, name: str) -> dict[str, str]:
    channel = GrpcChannel(sidecar.grpc_address)
    try:
        answer = await channel.unary(
            "/dapr.proto.runtime.v1.Dapr/GetSecret",
            secret_pb2.GetSecretRequest(store_name="s", key=name),
            secret_pb2.GetSecretResponse,
            timeout=20,
        )
        return dict(answer.message.data)
    finally:
        await channel.close()


# --- a store that is not there ------------------------------------------------------------------


def _nowhere(port: int) -> list[Manifest]:
    keys = {"region": "eu-west-1", "accessKey": "x", "secretKey": "hidden"}
    app = {"azureTenantId": "t", "azureClientId": "a", "azureClientSecret": "hidden"}
    url = f"http://127.0.0.1:{port}"
    return [
        component("s", "secretstores.hashicorp.vault", vaultAddr=url, vaultToken="hidden"),
        component("s", "secretstores.aws.secretmanager", endpoint=url, **keys),
        component("s", "secretstores.aws.parameterstore", endpoint=url, **keys),
        component("s", "secretstores.azure.keyvault", vaultName="abc", endpoint=url, **app),
        component("s", "secretstores.gcp.secretmanager", projectID="p", endpoint=url),
    ]


@pytest.mark.parametrize("number", range(5))
async def test_a_store_that_is_down_ends_the_start_and_says_so(number: int) -> None:
    port = free_port()
    manifest = _nowhere(port)[number]
    authority = {"AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{port}"}
    sidecar = Sidecar(resources=[manifest], env=authority, ready="", exit_code=1)
    sidecar.start()
    with closing(_Stopper(sidecar)):
        assert await asyncio.to_thread(sidecar.wait_exit, 40) == 1, sidecar.log
    fatal = [line for line in sidecar.lines if "level=fatal" in line]
    assert len(fatal) == 1, sidecar.log
    assert f"s ({manifest['spec']['type']}/v1)" in fatal[0]
    assert f"127.0.0.1:{port}" in fatal[0]
    assert "hidden" not in sidecar.log
    assert "Traceback" not in sidecar.log


async def test_a_wrong_field_ends_the_start_and_is_named(tmp_path: Path) -> None:
    wrong = component("s", "secretstores.hashicorp.vault", vaultAddr="http://127.0.0.1:1")
    sidecar = Sidecar(resources=[wrong], ready="", exit_code=1)
    sidecar.start()
    with closing(_Stopper(sidecar)):
        assert await asyncio.to_thread(sidecar.wait_exit, 40) == 1, sidecar.log
    assert "missing required metadata field 'vaultToken': expected a token" in sidecar.log


class _Stopper:
    """Ends a sidecar that did not end by itself."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    def close(self) -> None:
        self._sidecar.stop()


@pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
async def test_a_vault_that_comes_later() -> None:
    """What needs a secret of it waits meanwhile, and comes up with it."""
    server = Backend("vault")
    store = component(
        "s", "secretstores.hashicorp.vault", vaultAddr=f"http://{server.address}", vaultToken="root"
    )
    store["spec"]["ignoreErrors"] = True
    with redis_server() as redis:
        redis.call("CONFIG", "SET", "requirepass", PASSWORD)
        state = component("state", "state.redis", redisHost=redis.address)
        reference = {"name": "redis-pw", "key": "redis-pw"}
        state["spec"]["metadata"].append({"name": "redisPassword", "secretKeyRef": reference})
        state["auth"] = {"secretStore": "s"}
        async with Sidecar(resources=[store, state]) as sidecar:
            refusal = f"Failed to init component s .*Vault at {re.escape(server.address)} cannot"
            await asyncio.to_thread(sidecar.wait_line, re.compile(refusal).search)
            await asyncio.to_thread(sidecar.wait_line, "component state (state.redis/v1) waits")
            with server:
                facts = {"backend": server.address, **server.facts}
                secret = {"data": {"redis-pw": PASSWORD}}
                vault_call(facts, "POST", "secret/data/dapr/redis-pw", secret)
                # Any change makes the sidecar look at what failed.
                touched = sidecar.resources_path / "10-more.yaml"
                touched.write_text(yaml.safe_dump(component("more", "state.in-memory")))
                await asyncio.to_thread(sidecar.wait_line, "Component loaded: state (state.redis")
                saved = await acall(
                    sidecar.http_port, "POST", "/v1.0/state/state", [{"key": "k", "value": 1}]
                )
                assert saved.status == 204, saved.body
        assert PASSWORD not in sidecar.log
