"""Keys as files and secrets hold them, and how they wrap other keys. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)

Key = bytes | rsa.RSAPublicKey | rsa.RSAPrivateKey
_CBC_KEY_BYTES = {"A128CBC-NOPAD": 16, "A192CBC-NOPAD": 24, "A256CBC-NOPAD": 32}
_BLOCK_BYTES = 16
_UNREADABLE = (ValueError, TypeError, KeyError, UnsupportedAlgorithm)
_OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)


class KeyUseError(Exception):
    """A key cannot be read, or cannot do what was asked; the text never shows key material."""


def parse_key(text: bytes) -> Key:
    """A key from PEM or from a JSON Web Key. Raises ``KeyUseError``."""
    try:
        if text.lstrip()[:1] == b"{":
            return _from_jwk(orjson.loads(text))
        if b"-----BEGIN" in text:
            return _from_pem(text)
    except _UNREADABLE:
        # Without the cause: a parser's error may quote what it read.
        raise KeyUseError("the key cannot be read: expected PEM or a JSON Web Key") from None
    raise KeyUseError("the key cannot be read: expected PEM or a JSON Web Key")


def key_of_jwk(content: Mapping[str, Any]) -> Key:
    """A key from a JSON Web Key that was read already. Raises ``KeyUseError``."""
    try:
        return _from_jwk(content)
    except _UNREADABLE:
        raise KeyUseError("the key cannot be read: expected a JSON Web Key") from None


def wrap(key: Key, algorithm: str, plain: bytes) -> bytes:
    """Wrap a file key. Raises ``KeyUseError``."""
    if algorithm == "RSA-OAEP-256":
        public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
        if not isinstance(public, rsa.RSAPublicKey):
            raise _wrong_kind(algorithm)
        return public.encrypt(plain, _OAEP)
    if algorithm == "A256KW":
        return aes_key_wrap(_symmetric(key, algorithm, 32), plain)
    encryptor = _cbc(key, algorithm).encryptor()
    return _whole_blocks(encryptor, plain)


def unwrap(key: Key, algorithm: str, wrapped: bytes) -> bytes:
    """Unwrap a file key. Raises ``KeyUseError``."""
    try:
        if algorithm == "RSA-OAEP-256":
            if not isinstance(key, rsa.RSAPrivateKey):
                raise KeyUseError("the key has no private part")
            return key.decrypt(wrapped, _OAEP)
        if algorithm == "A256KW":
            return aes_key_unwrap(_symmetric(key, algorithm, 32), wrapped)
        return _whole_blocks(_cbc(key, algorithm).decryptor(), wrapped)
    except (ValueError, InvalidUnwrap) as error:
        raise KeyUseError("the file key cannot be unwrapped with this key") from error


def _cbc(key: Key, algorithm: str) -> Cipher[modes.CBC]:
    size = _CBC_KEY_BYTES.get(algorithm)
    if size is None:
        raise KeyUseError(f"algorithm '{algorithm}' is not supported")
    # A file key is random and wrapped once: there is no pattern for a nonce to hide.
    nonce = bytes(_BLOCK_BYTES)
    return Cipher(algorithms.AES(_symmetric(key, algorithm, size)), modes.CBC(nonce))


def _whole_blocks(context: Any, data: bytes) -> bytes:
    if len(data) % _BLOCK_BYTES:
        raise ValueError("not whole blocks")
    found: bytes = context.update(data) + context.finalize()
    return found


def _symmetric(key: Key, algorithm: str, size: int) -> bytes:
    if not isinstance(key, bytes):
        raise _wrong_kind(algorithm)
    if len(key) != size:
        raise KeyUseError(f"algorithm '{algorithm}' needs a key of {size} bytes, not {len(key)}")
    return key


def _wrong_kind(algorithm: str) -> KeyUseError:
    return KeyUseError(f"the key's type does not fit the algorithm '{algorithm}'")


def _from_pem(text: bytes) -> Key:
    if b"PRIVATE KEY" in text:
        private = serialization.load_pem_private_key(text, None)
        if isinstance(private, rsa.RSAPrivateKey):
            return private
    else:
        public = serialization.load_pem_public_key(text)
        if isinstance(public, rsa.RSAPublicKey):
            return public
    raise KeyUseError("the key's type is not supported: expected RSA")


def _from_jwk(content: Mapping[str, Any]) -> Key:
    if content["kty"] == "oct":
        return _bytes(content["k"])
    if content["kty"] != "RSA":
        raise KeyUseError(
            f"the key's type '{content['kty']}' is not supported: expected oct or RSA"
        )
    public = rsa.RSAPublicNumbers(_number(content["e"]), _number(content["n"]))
    if "d" not in content:
        return public.public_key()
    d = _number(content["d"])
    if "p" in content and "q" in content:
        p, q = _number(content["p"]), _number(content["q"])
    else:
        p, q = rsa.rsa_recover_prime_factors(public.n, public.e, d)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    )
    return numbers.private_key()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")
