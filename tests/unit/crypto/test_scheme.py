from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.crypto import scheme
from dapr_sidecar.blocks.crypto.errors import HeaderError, SchemeError, SegmentError
from dapr_sidecar.blocks.crypto.scheme import Manifest

KEY = bytes(range(32))
MANIFEST = Manifest("k1", "A256KW", b"wrapped", 1, b"1234567")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def joined(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in source])


def test_header_to_the_letter() -> None:
    header = scheme.write_header(MANIFEST, KEY)
    manifest = b'{"k":"k1","kw":1,"wfk":"d3JhcHBlZA==","cph":1,"np":"MTIzNDU2Nw=="}'
    signed = b"dapr.io/enc/v1\n" + manifest + b"\n"
    mac_key = HKDF(SHA256(), 32, None, b"header").derive(KEY)
    mac = base64.b64encode(hmac.digest(mac_key, signed, hashlib.sha256))
    assert header == signed + mac + b"\n"
    bare = scheme.write_header(Manifest("", "RSA-OAEP-256", b"", 2, b"1234567"), KEY)
    assert bare.split(b"\n")[1].startswith(b'{"kw":5,')


async def test_segments_to_the_letter() -> None:
    plain = b"x" * 65536 + b"rest"
    key = HKDF(SHA256(), 32, b"1234567", b"payload").derive(KEY)
    expected = AESGCM(key).encrypt(b"1234567" + b"\0\0\0\0" + b"\0", plain[:65536], None)
    expected += AESGCM(key).encrypt(b"1234567" + b"\0\0\0\1" + b"\1", b"rest", None)
    assert await joined(scheme.seal(MANIFEST, KEY, pieces(plain))) == expected


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("cipher", [1, 2])
async def test_there_and_back(size: int, cipher: int) -> None:
    manifest = Manifest("k", "A256KW", b"w", cipher, scheme.new_prefix())
    plain = (b"0123456789" * 20_000)[:size]
    sealed = await joined(scheme.seal(manifest, KEY, pieces(plain[:7], plain[7:])))
    assert len(sealed) == size + 16 * max(1, -(-size // 65536))
    parts = [sealed[at : at + 1000] for at in range(0, len(sealed), 1000)]
    assert await joined(scheme.unseal(manifest, KEY, pieces(*parts))) == plain


@pytest.mark.parametrize("spoil", ["cut", "changed", "swapped", "longer", "empty"])
async def test_what_was_tampered_with_is_refused(spoil: str) -> None:
    sealed = await joined(scheme.seal(MANIFEST, KEY, pieces(b"x" * 200_000)))
    size = 65536 + 16
    spoiled = {
        "cut": sealed[: 2 * size],
        "changed": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "swapped": sealed[size : 2 * size] + sealed[:size] + sealed[2 * size :],
        "longer": sealed + b"more",
        "empty": b"",
    }[spoil]
    with pytest.raises(SegmentError):
        await joined(scheme.unseal(MANIFEST, KEY, pieces(spoiled)))


@given(cut=st.integers(1, 200))
async def test_headers_come_in_any_pieces(cut: int) -> None:
    text = scheme.write_header(MANIFEST, KEY) + b"after\nit"
    parts = [text[at : at + cut] for at in range(0, len(text), cut)]
    header, rest = await scheme.read_header(source := pieces(*parts))
    assert header.manifest == MANIFEST
    header.verify(KEY)
    assert rest + await joined(source) == b"after\nit"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"garbage", "scheme name not found"),
        (b"", "scheme name not found"),
        (b"dapr.io/enc/v2\n{}\nx\n", "scheme name not found"),
        (b"dapr.io/enc/v1\n{}", "ends too early"),
        (b"dapr.io/enc/v1\n{}\nAA==\n", "manifest cannot be read"),
        (b"dapr.io/enc/v1\n[]\nAA==\n", "manifest cannot be read"),
        (b'dapr.io/enc/v1\n{"kw":9,"wfk":"","cph":1,"np":"MTIzNDU2Nw=="}\nAA==\n', "manifest"),
        (b'dapr.io/enc/v1\n{"kw":1,"wfk":"","cph":9,"np":"MTIzNDU2Nw=="}\nAA==\n', "manifest"),
        (b'dapr.io/enc/v1\n{"kw":1,"wfk":"","cph":1,"np":"AA=="}\nAA==\n', "manifest"),
        (b'dapr.io/enc/v1\n{"kw":1,"wfk":"","cph":[],"np":"MTIzNDU2Nw=="}\nAA==\n', "manifest"),
        (b"dapr.io/enc/v1\n" + b"x" * 100_000, "too long"),
    ],
)
async def test_headers_that_are_none(text: bytes, reason: str) -> None:
    with pytest.raises(HeaderError, match=reason):
        await scheme.read_header(pieces(text))


async def test_a_changed_header_is_refused() -> None:
    lines = scheme.write_header(MANIFEST, KEY).split(b"\n")
    content = json.loads(lines[1])
    content["k"] = "k2"
    lines[1] = json.dumps(content).encode()
    header, _ = await scheme.read_header(pieces(b"\n".join(lines)))
    with pytest.raises(HeaderError, match="signature"):
        header.verify(KEY)
    with pytest.raises(HeaderError, match="size"):
        header.verify(KEY[:5])


def test_names() -> None:
    assert scheme.wrap_algorithm("aes") == "A256KW"
    assert scheme.wrap_algorithm("RSA") == "RSA-OAEP-256"
    assert scheme.cipher_id("") == scheme.cipher_id("AES-GCM") == 1
    with pytest.raises(SchemeError, match="A256KW"):
        scheme.wrap_algorithm("nope")
    with pytest.raises(SchemeError, match="chacha20"):
        scheme.cipher_id("nope")
