"""Secrets as users put them into a store, by calls that owe nothing to the clients under test."""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from harness.component_table import Maker

Facts = Mapping[str, str]
Values = Mapping[str, str]


def vault_call(
    facts: Facts, method: str, path: str, body: object = None, token: str = ""
) -> dict[str, Any]:
    """One request to a Vault; an error is an ``HTTPError``."""
    headers = {"X-Vault-Token": token or facts["token"]}
    raw = None if body is None else json.dumps(body).encode()
    url = f"http://{facts['backend']}/v1/{path}"
    return _ask(urllib.request.Request(url, raw, headers, method=method))


def aws_call(facts: Facts, service: str, target: str, **request: Any) -> dict[str, Any]:
    """One request to the emulator, which wants a signature and does not look at it."""
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": target,
        "Authorization": f"AWS4-HMAC-SHA256 Credential=a/20200101/eu-west-1/{service}/"
        "aws4_request, SignedHeaders=host, Signature=0",
    }
    url = f"http://{facts['backend']}/"
    return _ask(urllib.request.Request(url, json.dumps(request).encode(), headers))


def keyvault_call(facts: Facts, method: str, path: str, body: object = None) -> dict[str, Any]:
    """One request to the emulator, which takes any token."""
    headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    raw = None if body is None else json.dumps(body).encode()
    url = f"https://{facts['backend']}{path}?api-version=7.4"
    trust = ssl.create_default_context(cafile=facts["ca"])
    return _ask(urllib.request.Request(url, raw, headers, method=method), trust)


def gcp_call(facts: Facts, method: str, *fields: bytes) -> None:
    """One gRPC call to the emulator; ``fields`` are the request's, from number 1 on."""
    import grpc

    raw = b"".join(_field(number, value) for number, value in enumerate(fields, 1))
    with grpc.insecure_channel(facts["backend"]) as channel:
        call = channel.unary_unary(f"/google.cloud.secretmanager.v1.SecretManagerService/{method}")
        try:
            call(raw, timeout=20)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise


# --- one secret ---------------------------------------------------------------------------------


def _vault(facts: Facts, name: str, values: Values) -> str:
    answer = vault_call(facts, "POST", f"secret/data/dapr/{name}", {"data": values})
    return str(answer["data"]["version"])


def _secretmanager(facts: Facts, name: str, values: Values) -> str:
    text = values[name] if list(values) == [name] else json.dumps(values)
    try:
        made = aws_call(
            facts, "secretsmanager", "secretsmanager.CreateSecret", Name=name, SecretString=text
        )
    except urllib.error.HTTPError as error:
        if b"ResourceExistsException" not in error.read():
            raise
        target = "secretsmanager.PutSecretValue"
        made = aws_call(facts, "secretsmanager", target, SecretId=name, SecretString=text)
    return str(made["VersionId"])


def _parameterstore(facts: Facts, name: str, values: Values) -> str:
    made = aws_call(
        facts,
        "ssm",
        "AmazonSSM.PutParameter",
        Name=f"/conformance/{name}",
        Value=values[name],
        Type="SecureString",
        Overwrite=True,
    )
    return str(made["Version"])


def _keyvault(facts: Facts, name: str, values: Values) -> str:
    bundle = keyvault_call(facts, "PUT", f"/secrets/{name}", {"value": values[name]})
    return str(bundle["id"].rpartition("/")[2])


def _gcp(facts: Facts, name: str, values: Values) -> str:
    """Versions are counted, by whoever writes them."""
    parent = b"projects/conformance"
    gcp_call(facts, "CreateSecret", parent, name.encode(), b"")
    secret = parent + b"/secrets/" + name.encode()
    gcp_call(facts, "AddSecretVersion", secret, _field(1, values[name].encode()))
    return ""


_WRITERS: dict[str, Callable[[Facts, str, Values], str]] = {
    "secretstores.aws.parameterstore": _parameterstore,
    "secretstores.aws.secretmanager": _secretmanager,
    "secretstores.azure.keyvault": _keyvault,
    "secretstores.gcp.secretmanager": _gcp,
    "secretstores.hashicorp.vault": _vault,
}


async def write(maker: Maker, name: str, values: Values) -> str:
    """Put one secret into an entry's store; returns what the store calls this version."""
    writer = _WRITERS[maker.entry["type"]]
    return await asyncio.to_thread(writer, maker.variables, name, values)


async def prepare(maker: Maker) -> None:
    """Put there what the entry says is known."""
    if maker.entry["type"] in _WRITERS:
        for name, value in maker.entry["known"].items():
            await write(maker, name, {name: value})
        for name, values in maker.entry.get("several", {}).items():
            await write(maker, name, values)


def _ask(request: urllib.request.Request, trust: ssl.SSLContext | None = None) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
        raw = answer.read()
    found: dict[str, Any] = json.loads(raw or b"{}")
    return found


def _field(number: int, value: bytes) -> bytes:
    """A field of bytes, a text or a message, as protobuf has it on the wire."""
    size, length = len(value), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((number << 3 | 2, *length, size)) + value
