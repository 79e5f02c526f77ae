"""Google Cloud Secret Manager, from a stand-in: refusals, regions, and who we say we are by TLS."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from harness.block_api import make

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.wire.gcp import secretmanager_pb2 as pb
from dapr_sidecar.components.registry import component_class

GCP = "secretstores.gcp.secretmanager"
_SERVICE = "/google.cloud.secretmanager.v1.SecretManagerService/"


@asynccontextmanager
async def stand_in_secret_manager(
    listing: GrpcCode | None, access: GrpcCode | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    """One that answers with these codes; gives its address, and what it is told of regions, and
    of who asks.
    """
    told: list[str] = []

    def answer(code: GrpcCode | None, message: Any) -> Callable[..., Awaitable[Any]]:
        async def handler(request: Any, context: Context) -> Any:
            wanted = ("x-goog-request-params", "authorization")
            told.extend(str(value) for name, value in context.metadata if name in wanted)
            if code is not None:
                raise RpcError(code, f"because of {code.go_name}")
            return message

        return handler

    server = GrpcServer(max_receive_bytes=4 << 20)
    payload = pb.AccessSecretVersionResponse(payload=pb.SecretPayload(data=b"v\xff"))
    for name, asked, made in (
        ("ListSecrets", pb.ListSecretsRequest, answer(listing, pb.ListSecretsResponse())),
        ("AccessSecretVersion", pb.AccessSecretVersionRequest, answer(access, payload)),
    ):
        server.add(Method(_SERVICE + name, "unary_unary", asked, None, made))
    port = await server.listen_tcp("127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{port}", told
    finally:
        await server.close(0)


@pytest.mark.parametrize(
    ("listing", "text"),
    [
        (GrpcCode.PERMISSION_DENIED, ""),
        (None, ""),
        (GrpcCode.NOT_FOUND, r"'projectID': expected a project that is there: .*because of NotF"),
        (
            GrpcCode.UNAUTHENTICATED,
            r"Google Cloud Secret Manager at .*: because of Unauthenticated",
        ),
    ],
)
async def test_loading_of_google(listing: GrpcCode | None, text: str) -> None:
    async with stand_in_secret_manager(listing, None) as (address, told):
        store: Any = make(component_class(GCP, "v1"), projectID="p", endpoint=address)
        if text:
            with pytest.raises(Exception, match=text):
                await store.open()
        else:
            await store.open()
            assert await store.get("name", {}) == {"name": "v\ufffd"}
            assert told == [
                "parent=projects%2Fp",
                "name=projects%2Fp%2Fsecrets%2Fname%2Fversions%2Flatest",
            ]
        await store.close()


@pytest.mark.parametrize(
    ("code", "is_gone"),
    [
        (GrpcCode.NOT_FOUND, True),
        (GrpcCode.FAILED_PRECONDITION, True),
        (GrpcCode.PERMISSION_DENIED, False),
        (GrpcCode.UNAVAILABLE, False),
    ],
)
async def test_asking_google(code: GrpcCode, is_gone: bool) -> None:
    async with stand_in_secret_manager(None, code) as (address, _):
        store: Any = make(component_class(GCP, "v1"), projectID="p", endpoint=address)
        await store.open()
        with pytest.raises(Exception, match=f"because of {code.go_name}") as caught:
            await store.get("name", {})
        assert isinstance(caught.value, LookupError) is is_gone
        if is_gone or code is GrpcCode.PERMISSION_DENIED:
            await store.ping()
        else:
            with pytest.raises(Exception, match=f"because of {code.go_name}"):
                await store.ping()
        await store.close()


@pytest.mark.parametrize(("name", "version"), [("a/b", ""), ("", ""), ("a", "1/x"), ("é", "")])
async def test_names_google_does_not_have(name: str, version: str) -> None:
    store: Any = make(component_class(GCP, "v1"), projectID="p", endpoint="127.0.0.1:1")
    with pytest.raises(LookupError, match="names are letters, digits, dashes and underscores"):
        await store.get(name, {"version_id": version})
    await store.close()


async def test_who_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By TLS, with a token that the account's key signed for this service and no other."""
    ca, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(tls)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    account = {"privateKey": pem, "privateKeyID": "k1", "clientEmail": "app@p.example"}
    async with stand_in_secret_manager(None, None, tls) as (address, told):
        url = "https://localhost:" + address.rpartition(":")[2]
        distrusted: Any = make(component_class(GCP, "v1"), projectID="p", endpoint=url, **account)
        with pytest.raises(Exception, match=r"Google Cloud Secret Manager at localhost.*verify"):
            await distrusted.open()
        await distrusted.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        store: Any = make(component_class(GCP, "v1"), projectID="p", endpoint=url, **account)
        await store.open()
        assert await store.get("name", {}) == {"name": "v\ufffd"}
        await store.close()
    scheme, _, token = next(one for one in told if one.startswith("Bearer ")).partition(" ")
    assert scheme == "Bearer"
    text, _, signature = token.rpartition(".")
    key.public_key().verify(_bytes(signature), text.encode(), padding.PKCS1v15(), SHA256())
    head, claims = (json.loads(_bytes(part)) for part in text.split("."))
    assert (head["alg"], head["kid"]) == ("RS256", "k1")
    assert claims["aud"] == "https://secretmanager.googleapis.com/"
    assert claims["iss"] == claims["sub"] == "app@p.example"


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
