"""One app, one API: the manifest says where the keys are, and documents go from one to another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from harness.http_call import Answer, acall
from harness.sidecar import Manifest, Sidecar, component
from harness.stand_in_entra import stand_in_entra
from harness.stand_in_key_vault_keys import TOKEN, known_rsa_key, stand_in_key_vault

from dapr_common.grpc.client import GrpcChannel
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import crypto_pb2 as pb

API = "/v1.0-alpha1/crypto/keys"
SERVICE = "/dapr.proto.runtime.v1.Dapr/"
PLAIN = os.urandom(300_000)
SHARED = {"kty": "oct", "k": "Pfy2Ii_GqVRMZPzIqTkGWhrjQHmsYbvnVwq2VGEwOB0"}


@dataclass(frozen=True)
class Provider:
    """A manifest, and what its keys are called: a symmetric one and a pair, the same everywhere."""

    manifest: Manifest
    symmetric: str = ""
    pair: str = ""
    env: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Provider]]:
    folder = tmp_path_factory.mktemp("keys")
    pem = known_rsa_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "pair.pem").write_bytes(pem)
    (folder / "shared.json").write_text(json.dumps(SHARED))
    key_set = json.dumps({"keys": [{**SHARED, "kid": "shared"}]})
    (folder / "set").write_text(key_set)
    login = {"azureTenantId": "tenant", "azureClientId": "me", "azureClientSecret": "s3cret"}
    with ExitStack() as stack:
        entra = stack.enter_context(stand_in_entra(TOKEN))
        vault = stack.enter_context(stand_in_key_vault())
        yield {
            "localstorage": Provider(
                component("keys", "crypto.dapr.localstorage", path=folder),
                "shared.json",
                "pair.pem",
            ),
            "jwks": Provider(component("keys", "crypto.dapr.jwks", jwks=key_set), "shared"),
            "jwks in a file": Provider(
                component("keys", "crypto.dapr.jwks", jwks=folder / "set"), "shared"
            ),
            "keyvault": Provider(
                component(
                    "keys", "crypto.azure.keyvault", vaultName="mine", endpoint=vault.url, **login
                ),
                pair="rsa",
                env={"AZURE_AUTHORITY_HOST": entra.url},
            ),
        }


async def encrypt(sidecar: Sidecar, key: str, algorithm: str) -> bytes:
    headers = {"dapr-key-name": key, "dapr-key-wrap-algorithm": algorithm}
    answer: Answer = await acall(sidecar.http_port, "PUT", f"{API}/encrypt", PLAIN, headers)
    assert answer.status == 200, answer.body
    return answer.body


async def decrypt(sidecar: Sidecar, key: str, sealed: bytes) -> bytes:
    """As a stream, in pieces that have nothing to do with its segments."""
    options = pb.DecryptRequestOptions(component_name="keys", key_name=key)
    parts = [sealed[at : at + 50_000] for at in range(0, len(sealed), 50_000)]
    channel = GrpcChannel(sidecar.grpc_address)
    try:
        async with await channel.open(SERVICE + "DecryptAlpha1") as call:
            await call.send(pb.DecryptRequest(options=options))
            for number, part in enumerate(parts):
                payload = common_pb2.StreamPayload(data=part, seq=number)
                await call.send(pb.DecryptRequest(payload=payload))
            await call.half_close()
            answers = [pb.DecryptResponse.FromString(raw) async for raw in call]
    finally:
        await channel.close()
    return b"".join(answer.payload.data for answer in answers)


@pytest.mark.slow
async def test_documents_go_from_one_provider_to_another_key_vault_is_a_stand_in(
    providers: dict[str, Provider],
) -> None:
    symmetric: dict[str, bytes] = {}
    pairs: dict[str, bytes] = {}
    with ExitStack() as stack:
        sidecars = {
            name: stack.enter_context(Sidecar(resources=[one.manifest], env=one.env))
            for name, one in providers.items()
        }
        for name, one in providers.items():
            if one.symmetric:
                symmetric[name] = await encrypt(sidecars[name], one.symmetric, "AES")
            if one.pair:
                pairs[name] = await encrypt(sidecars[name], one.pair, "RSA")
        assert len(symmetric) == 3
        assert len(pairs) == 2
        for name, one in providers.items():
            for sealed in symmetric.values() if one.symmetric else ():
                assert await decrypt(sidecars[name], one.symmetric, sealed) == PLAIN
            for sealed in pairs.values() if one.pair else ():
                assert await decrypt(sidecars[name], one.pair, sealed) == PLAIN


@pytest.mark.parametrize(
    ("kind", "metadata", "text"),
    [
        ("crypto.dapr.jwks", {}, "missing required metadata field 'jwks'"),
        ("crypto.dapr.jwks", {"jwks": '{"keys": 5}'}, "invalid metadata field 'jwks'"),
        (
            "crypto.dapr.kubernetes.secrets",
            {"kubeconfigPath": "/no/such/file"},
            "invalid metadata field 'kubeconfigPath'",
        ),
        ("crypto.azure.keyvault", {}, "missing required metadata field 'vaultName'"),
        ("crypto.aws.kms", {"accessKey": "a"}, "missing required metadata field 'secretKey'"),
        ("configuration.postgresql", {}, "missing required metadata field 'table'"),
        ("configuration.postgresql", {"table": "t"}, "metadata field 'connectionString'"),
    ],
)
def test_a_sidecar_says_which_field_is_wrong(
    tmp_path: Path, kind: str, metadata: dict[str, str], text: str
) -> None:
    manifest = component("wrong", kind, **metadata)
    sidecar = Sidecar(resources=[manifest], ready="", exit_code=1)
    sidecar.start()
    try:
        assert sidecar.wait_exit(60) == 1, sidecar.log
    finally:
        sidecar.stop()
    (fatal,) = [line for line in sidecar.lines if "level=fatal" in line]
    assert "INIT_COMPONENT_FAILURE" in fatal
    assert text in fatal
