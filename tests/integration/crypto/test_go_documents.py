"""Documents of a Go program that shares nothing with us but the format, and ours for it."""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from harness.block_api import loaded, make, make_context
from harness.stand_in_key_vault_keys import known_rsa_key

from dapr_sidecar.blocks.crypto.block import CryptoBlock, EncryptOptions
from dapr_sidecar.components.crypto.jwks import JwksCrypto
from dapr_sidecar.components.crypto.localstorage import LocalStorageCrypto

SOURCE = Path(__file__).parents[2] / "harness" / "seal_document.go"
SEGMENT = 64 << 10
SIZES = {"A128CBC-NOPAD": 16, "A192CBC-NOPAD": 24, "A256CBC-NOPAD": 32, "A256KW": 32}
SYMMETRIC = {name: bytes(range(size)) for name, size in SIZES.items()}

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="go is not here")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    faulthandler.cancel_dump_traceback_later()  # nothing may be compiled yet; it has a limit
    found = tmp_path_factory.mktemp("go") / "seal_document"
    subprocess.run(
        ["go", "build", "-o", str(found), str(SOURCE)],
        check=True,
        timeout=300,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0"},
    )
    return str(found)


def jwk(key: bytes) -> dict[str, str]:
    return {"kty": "oct", "k": base64.urlsafe_b64encode(key).rstrip(b"=").decode()}


@pytest.fixture
async def block(tmp_path: Path) -> AsyncIterator[CryptoBlock]:
    """The same keys twice: as files for Go and for one component, and as a set for another."""
    pem = known_rsa_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "RSA-OAEP-256").write_bytes(pem)
    for name, key in SYMMETRIC.items():
        (tmp_path / f"{name}.raw").write_bytes(key)
        (tmp_path / name).write_text(json.dumps(jwk(key)))
    keys = [{"kid": name, **jwk(key)} for name, key in SYMMETRIC.items()]
    made = {
        "files": make(LocalStorageCrypto, path=str(tmp_path)),
        "set": make(JwksCrypto, jwks=json.dumps({"keys": keys})),
    }
    found = CryptoBlock(make_context())
    for name, provider in made.items():
        await provider.open()
        found.context.components.crypto[name] = loaded(name, provider)
    yield found
    for provider in made.values():
        await provider.close()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 10_000):
        yield data[at : at + 10_000]


@pytest.mark.parametrize("size", [0, 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5])
@pytest.mark.parametrize("algorithm", ["RSA-OAEP-256", *SYMMETRIC])
async def test_documents_in_both_directions(
    program: str, block: CryptoBlock, tmp_path: Path, algorithm: str, size: int
) -> None:
    plain = os.urandom(size)
    file = tmp_path / (f"{algorithm}.raw" if algorithm in SYMMETRIC else algorithm)

    def run(what: str, data: bytes) -> bytes:
        command = [program, what, str(file), algorithm, algorithm]
        done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    theirs = run("seal", plain)
    for name in ("files", "set") if algorithm in SYMMETRIC else ("files",):
        opened = block.decrypt(name, "", pieces(theirs))
        assert b"".join([part async for part in opened]) == plain
        ours = block.encrypt(name, EncryptOptions(algorithm, algorithm), pieces(plain))
        assert run("open", b"".join([part async for part in ours])) == plain
