from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.block_api import SERVICE, Answer, HttpApi, grpc_api, loaded, make, make_context

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import crypto_pb2 as pb
from dapr_sidecar.api.grpc.crypto import methods
from dapr_sidecar.api.http.crypto import routes
from dapr_sidecar.blocks.crypto.block import CryptoBlock
from dapr_sidecar.components.crypto.keys import KeyUseError, parse_key, unwrap, wrap
from dapr_sidecar.components.crypto.localstorage import LocalStorageCrypto
from dapr_sidecar.components.metadata import SettingsError

FILE_KEY = bytes(range(32))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def symmetric(size: int) -> bytes:
    return json.dumps({"kty": "oct", "k": b64(bytes(size))}).encode()


@pytest.fixture(scope="session")
def pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture
def folder(tmp_path: Path, pair: rsa.RSAPrivateKey) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "sym.json").write_bytes(symmetric(32))
    (tmp_path / "sym.json").write_bytes(symmetric(32))
    (tmp_path / "rsa.pem").write_bytes(pem(pair))
    public = pair.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "bad.json").write_text('{"kty":"oct","k":"s3cret"')
    return tmp_path


@pytest.fixture
async def block(folder: Path) -> CryptoBlock:
    provider = make(LocalStorageCrypto, path=str(folder))
    await provider.open()
    found = CryptoBlock(make_context())
    found.context.components.crypto["cr"] = loaded("cr", provider)
    return found


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [("A256KW", 32), ("A128CBC-NOPAD", 16), ("A192CBC-NOPAD", 24), ("A256CBC-NOPAD", 32)],
)
def test_symmetric_keys(algorithm: str, size: int) -> None:
    key = parse_key(symmetric(size))
    wrapped = wrap(key, algorithm, FILE_KEY)
    assert FILE_KEY not in wrapped
    assert unwrap(key, algorithm, wrapped) == FILE_KEY
    with pytest.raises(KeyUseError, match=f"{size} bytes, not 8"):
        wrap(parse_key(symmetric(8)), algorithm, FILE_KEY)
    with pytest.raises(KeyUseError):
        unwrap(key, algorithm, wrapped[:-1])


@pytest.mark.parametrize("with_primes", [True, False])
def test_rsa_keys(pair: rsa.RSAPrivateKey, with_primes: bool) -> None:
    numbers = pair.private_numbers()
    public = {
        "kty": "RSA",
        "n": number(numbers.public_numbers.n),
        "e": number(numbers.public_numbers.e),
    }
    private = {**public, "d": number(numbers.d)}
    if with_primes:
        private |= {"p": number(numbers.p), "q": number(numbers.q)}
    only_public, whole = (parse_key(json.dumps(one).encode()) for one in (public, private))
    for key in (only_public, whole):
        assert unwrap(whole, "RSA-OAEP-256", wrap(key, "RSA-OAEP-256", FILE_KEY)) == FILE_KEY
    with pytest.raises(KeyUseError, match="no private part"):
        unwrap(only_public, "RSA-OAEP-256", b"x" * 256)
    with pytest.raises(KeyUseError, match="cannot be unwrapped"):
        unwrap(whole, "RSA-OAEP-256", b"x" * 256)
    with pytest.raises(KeyUseError, match="does not fit"):
        wrap(whole, "A256KW", FILE_KEY)
    with pytest.raises(KeyUseError, match="does not fit"):
        wrap(b"x" * 32, "RSA-OAEP-256", FILE_KEY)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"s3cret",
        b"{",
        b"[]",
        b'{"kty":"oct"}',
        b'{"kty":"EC"}',
        b'{"kty":"RSA","n":"s3cret"}',
        b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----",
    ],
)
def test_keys_that_are_none(text: bytes) -> None:
    with pytest.raises(KeyUseError) as caught:
        parse_key(text)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "sub/../sym.json", "none", "sub"])
async def test_names_outside_the_folder(block: CryptoBlock, name: str) -> None:
    provider = block.require("cr")
    with pytest.raises(KeyUseError):
        await provider.wrap_key(FILE_KEY, "A256KW", name)


async def test_names_below_the_folder(block: CryptoBlock) -> None:
    assert await block.require("cr").wrap_key(FILE_KEY, "A256KW", "sub/sym.json")


async def test_a_folder_that_is_none(folder: Path) -> None:
    with pytest.raises(SettingsError, match="'path'"):
        await make(LocalStorageCrypto, path=str(folder / "no")).open()


# --- HTTP -------------------------------------------------------------------------------------


@pytest.fixture
def api(block: CryptoBlock) -> HttpApi:
    return HttpApi(routes(block))


async def put(api: HttpApi, what: str, body: bytes, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.call("PUT", f"/v1.0-alpha1/crypto/{what}", body, names)


SYMMETRIC = {"dapr_key_name": "sym.json", "dapr_key_wrap_algorithm": "A256KW"}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("sym.json", "AES"), ("rsa.pem", "RSA"), ("public.pem", "RSA-OAEP-256")],
)
@pytest.mark.parametrize("cipher", ["", "aes-gcm", "chacha20-poly1305"])
async def test_there_and_back(api: HttpApi, key: str, algorithm: str, cipher: str) -> None:
    plain = b"attack at dawn" * 10_000
    sealed = await put(
        api,
        "cr/encrypt",
        plain,
        dapr_key_name=key,
        dapr_key_wrap_algorithm=algorithm,
        dapr_data_encryption_cipher=cipher,
        dapr_decryption_key_name="rsa.pem" if "RSA" in algorithm else "",
    )
    assert sealed.status == 200
    assert sealed.headers["content-type"] == "application/octet-stream"
    assert sealed.body.startswith(b"dapr.io/enc/v1\n")
    opened = await put(api, "cr/decrypt", sealed.body)
    assert (opened.status, opened.body) == (200, plain)
    assert opened.headers["content-type"] == "application/octet-stream"


async def test_a_document_without_its_keys_name(api: HttpApi) -> None:
    sealed = await put(api, "cr/encrypt", b"x", dapr_omit_decryption_key_name="true", **SYMMETRIC)
    assert b"sym.json" not in sealed.body
    assert (await put(api, "cr/decrypt", sealed.body)).error[1] == "ERR_CRYPTO"
    opened = await put(api, "cr/decrypt", sealed.body, dapr_key_name="sym.json")
    assert opened.body == b"x"


@pytest.mark.parametrize(
    ("what", "body", "headers", "status", "code", "text"),
    [
        (
            "zz/encrypt",
            b"",
            {},
            400,
            "ERR_CRYPTO_PROVIDER_NOT_FOUND",
            "crypto provider zz not found",
        ),
        ("cr/encrypt", b"", {}, 400, "ERR_BAD_REQUEST", "missing header 'dapr-key-name'"),
        (
            "cr/encrypt",
            b"",
            {"dapr_key_name": "k"},
            400,
            "ERR_BAD_REQUEST",
            "missing header 'dapr-key-wrap-algorithm'",
        ),
        ("cr/encrypt", b"", {**SYMMETRIC, "dapr_key_name": "no"}, 500, "ERR_CRYPTO", "key 'no'"),
        (
            "cr/encrypt",
            b"",
            {**SYMMETRIC, "dapr_key_wrap_algorithm": "X"},
            500,
            "ERR_CRYPTO",
            "'X' is not supported",
        ),
        ("cr/encrypt", b"", {**SYMMETRIC, "dapr_key_name": "bad.json"}, 500, "ERR_CRYPTO", "PEM"),
        ("cr/decrypt", b"garbage", {}, 500, "ERR_CRYPTO", "invalid header: scheme name not found"),
    ],
)
async def test_errors(
    api: HttpApi,
    what: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
    text: str,
) -> None:
    found = (await put(api, what, body, **headers)).error
    assert found[:2] == (status, code)
    assert text in found[2]
    assert "s3cret" not in found[2]


async def test_a_changed_document_gives_nothing_away(api: HttpApi) -> None:
    sealed = (await put(api, "cr/encrypt", b"x" * 200_000, **SYMMETRIC)).body
    answer = await put(api, "cr/decrypt", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert answer.error[:2] == (500, "ERROR")
    assert len(answer.body) < 500


async def test_no_provider_at_all() -> None:
    api = HttpApi(routes(CryptoBlock(make_context())))
    assert (await put(api, "c/encrypt", b"x")).error == (
        500,
        "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
        "crypto providers not configured",
    )
    answer = await api.call("POST", "/v1.0-alpha1/subtlecrypto/c/getkey", b"{}")
    assert answer.error == (
        501,
        "ERR_API_UNIMPLEMENTED",
        "this API is currently not implemented",
    )


# --- gRPC -------------------------------------------------------------------------------------


@pytest.fixture
async def client(block: CryptoBlock) -> AsyncIterator[GrpcChannel]:
    async with grpc_api(methods(block)) as channel:
        yield channel


def encrypt_options(**more: Any) -> pb.EncryptRequestOptions:
    given = {"component_name": "cr", "key_name": "sym.json", "key_wrap_algorithm": "A256KW"}
    return pb.EncryptRequestOptions(**{**given, **more})


async def exchange(client: GrpcChannel, name: str, requests: list[Any], kind: Any) -> list[Any]:
    async with await client.open(SERVICE + name) as call:
        for request in requests:
            await call.send(request)
        await call.half_close()
        return [kind.FromString(raw) async for raw in call]


def payloads(kind: Any, *data: bytes, start: int = 0) -> list[Any]:
    return [
        kind(payload=common_pb2.StreamPayload(data=one, seq=n)) for n, one in enumerate(data, start)
    ]


@pytest.mark.parametrize("with_first", [True, False])
async def test_grpc_there_and_back(client: GrpcChannel, with_first: bool) -> None:
    first = pb.EncryptRequest(options=encrypt_options())
    if with_first:
        first.payload.data = b"first "
    rest = payloads(pb.EncryptRequest, b"x" * 100_000, b"end", start=int(with_first))
    sealed = await exchange(client, "EncryptAlpha1", [first, *rest], pb.EncryptResponse)
    assert [one.payload.seq for one in sealed] == list(range(len(sealed)))
    first_back = pb.DecryptRequest(options=pb.DecryptRequestOptions(component_name="cr"))
    back = payloads(pb.DecryptRequest, *(one.payload.data for one in sealed))
    opened = await exchange(client, "DecryptAlpha1", [first_back, *back], pb.DecryptResponse)
    plain = b"".join(one.payload.data for one in opened)
    assert plain == (b"first " if with_first else b"") + b"x" * 100_000 + b"end"


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([], GrpcCode.INVALID_ARGUMENT),
        (payloads(pb.EncryptRequest, b"x"), GrpcCode.INVALID_ARGUMENT),
        ([pb.EncryptRequest(options=encrypt_options(key_name=""))], GrpcCode.INVALID_ARGUMENT),
        (
            [pb.EncryptRequest(options=encrypt_options(component_name="zz"))],
            GrpcCode.INVALID_ARGUMENT,
        ),
        ([pb.EncryptRequest(options=encrypt_options(key_name="no"))], GrpcCode.INTERNAL),
        ([pb.EncryptRequest(options=encrypt_options())] * 2, GrpcCode.INVALID_ARGUMENT),
        (
            [
                pb.EncryptRequest(options=encrypt_options()),
                *payloads(pb.EncryptRequest, b"x", start=5),
            ],
            GrpcCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_grpc_errors(client: GrpcChannel, requests: list[Any], code: GrpcCode) -> None:
    with pytest.raises(RpcError) as caught:
        await exchange(client, "EncryptAlpha1", requests, pb.EncryptResponse)
    assert caught.value.code is code


async def test_grpc_decrypt_errors(client: GrpcChannel) -> None:
    options = pb.DecryptRequest(options=pb.DecryptRequestOptions(component_name="cr"))
    requests = [options, *payloads(pb.DecryptRequest, b"garbage")]
    with pytest.raises(RpcError, match="scheme name not found") as caught:
        await exchange(client, "DecryptAlpha1", requests, pb.DecryptResponse)
    assert caught.value.code is GrpcCode.INTERNAL


async def test_subtle_methods_say_that_they_are_not_there(client: GrpcChannel) -> None:
    with pytest.raises(RpcError, match="currently not implemented") as caught:
        await client.unary(
            SERVICE + "SubtleSignAlpha1", pb.SubtleSignRequest(), pb.SubtleSignResponse
        )
    assert caught.value.code is GrpcCode.UNIMPLEMENTED
