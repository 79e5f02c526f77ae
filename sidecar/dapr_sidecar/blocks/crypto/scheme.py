"""The document format ``dapr.io/enc/v1``, without I/O: a header, then sealed segments.

A document has a key of its own (the file key), which the header carries wrapped by a provider.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dapr_sidecar.blocks.crypto.errors import HeaderError, SchemeError, SegmentError

NAME = b"dapr.io/enc/v1"
FILE_KEY_BYTES = 32
SEGMENT_BYTES = 64 << 10
_TAG_BYTES = 16
_PREFIX_BYTES = 7
_HEADER_LIMIT = 64 << 10
_LAST_SEGMENT = 2**32 - 1

WRAP_IDS = {
    "A256KW": 1,
    "A128CBC-NOPAD": 2,
    "A192CBC-NOPAD": 3,
    "A256CBC-NOPAD": 4,
    "RSA-OAEP-256": 5,
}
_ALIASES = {"AES": "A256KW", "RSA": "RSA-OAEP-256"}
_WRAP_NAMES = {number: name for name, number in WRAP_IDS.items()}
CIPHER_IDS = {"aes-gcm": 1, "chacha20-poly1305": 2}
_CIPHERS: dict[int, type[AESGCM | ChaCha20Poly1305]] = {1: AESGCM, 2: ChaCha20Poly1305}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a header says."""

    key_name: str
    algorithm: str
    wrapped: bytes
    cipher: int
    prefix: bytes


def wrap_algorithm(name: str) -> str:
    """The full name of a wrapping algorithm. Raises ``SchemeError``."""
    wanted = name.upper()
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in WRAP_IDS:
        known = ", ".join(WRAP_IDS)
        raise SchemeError(f"key wrap algorithm '{name}' is not supported: use one of {known}")
    return wanted


def cipher_id(name: str) -> int:
    """The number of a data cipher; "" is the default. Raises ``SchemeError``."""
    found = CIPHER_IDS.get(name.lower() or "aes-gcm")
    if found is None:
        known = ", ".join(CIPHER_IDS)
        raise SchemeError(f"cipher '{name}' is not supported: use one of {known}")
    return found


def new_prefix() -> bytes:
    """The random part of a document's nonces."""
    return os.urandom(_PREFIX_BYTES)


# --- header -----------------------------------------------------------------------------------


def write_header(manifest: Manifest, file_key: bytes) -> bytes:
    """The three lines."""
    content: dict[str, object] = {"k": manifest.key_name} if manifest.key_name else {}
    content |= {
        "kw": WRAP_IDS[manifest.algorithm],
        "wfk": base64.b64encode(manifest.wrapped).decode(),
        "cph": manifest.cipher,
        "np": base64.b64encode(manifest.prefix).decode(),
    }
    signed = NAME + b"\n" + orjson.dumps(content) + b"\n"
    return signed + base64.b64encode(_mac(file_key, signed)) + b"\n"


class Header:
    """A header as it was received; trust it only after ``verify``."""

    def __init__(self, manifest: Manifest, signed: bytes, mac: bytes) -> None:
        self.manifest = manifest
        self._signed = signed
        self._mac = mac

    def verify(self, file_key: bytes) -> None:
        """Raise ``HeaderError`` unless the header was made with this file key."""
        if len(file_key) != FILE_KEY_BYTES:
            raise HeaderError("the file key has a wrong size")
        if not hmac.compare_digest(self._mac, _mac(file_key, self._signed)):
            raise HeaderError("the signature is not valid")


async def read_header(chunks: AsyncIterator[bytes]) -> tuple[Header, bytes]:
    """The header, and what was read after it. Raises ``HeaderError``."""
    found = b""
    async for chunk in chunks:
        found += chunk
        if not (NAME + b"\n").startswith(found[: len(NAME) + 1]):
            break
        if found.count(b"\n") >= 3:
            break
        if len(found) > _HEADER_LIMIT:
            raise HeaderError("it is too long")
    name, _, rest = found.partition(b"\n")
    if name != NAME:
        raise HeaderError("scheme name not found")
    lines = rest.split(b"\n", 2)
    if len(lines) < 3:
        raise HeaderError("it ends too early")
    manifest, mac, rest = lines
    return Header(_manifest(manifest), found[: -len(mac + b"\n" + rest)], _b64(mac)), rest


def _manifest(text: bytes) -> Manifest:
    try:
        content = orjson.loads(text)
        found = Manifest(
            str(content.get("k") or ""),
            _WRAP_NAMES[content["kw"]],
            _b64(content["wfk"]),
            content["cph"],
            _b64(content["np"]),
        )
        known = found.cipher in _CIPHERS
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HeaderError("the manifest cannot be read") from error
    if not known or len(found.prefix) != _PREFIX_BYTES:
        raise HeaderError("the manifest cannot be read")
    return found


def _b64(text: bytes | str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise HeaderError("it is not valid base64") from error


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.digest(_derive(file_key, b"", b"header"), signed, hashlib.sha256)


def _derive(file_key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt or None, info).derive(file_key)


# --- segments ---------------------------------------------------------------------------------


class _Sealer:
    """Seals and opens the segments of one document, in order."""

    def __init__(self, manifest: Manifest, file_key: bytes) -> None:
        key = _derive(file_key, manifest.prefix, b"payload")
        self._cipher = _CIPHERS[manifest.cipher](key)
        self._prefix = manifest.prefix
        self._count = 0

    def _nonce(self, last: bool) -> bytes:
        if self._count > _LAST_SEGMENT:
            raise SegmentError("the document is too long")
        nonce = self._prefix + self._count.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
        self._count += 1
        return nonce

    def seal(self, segment: bytes, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last), segment, None)

    def open(self, segment: bytes, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(last), segment, None)
        except InvalidTag as error:
            raise SegmentError("the document was changed or is not complete") from error


async def seal(
    manifest: Manifest, file_key: bytes, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """The segments of a plain text."""
    sealer = _Sealer(manifest, file_key)
    async for segment, last in _cut(chunks, SEGMENT_BYTES):
        yield sealer.seal(segment, last)


async def unseal(
    manifest: Manifest, file_key: bytes, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """The plain text of segments. Raises ``SegmentError``; what came before that is genuine."""
    sealer = _Sealer(manifest, file_key)
    async for segment, last in _cut(chunks, SEGMENT_BYTES + _TAG_BYTES):
        yield sealer.open(segment, last)


async def _cut(chunks: AsyncIterator[bytes], size: int) -> AsyncGenerator[tuple[bytes, bool], None]:
    """Pieces of ``size``; the last one, perhaps empty, is marked."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) > size:  # not >=: what fills a piece exactly may be the last
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True
