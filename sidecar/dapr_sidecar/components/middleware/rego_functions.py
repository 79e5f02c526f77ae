"""Rego's functions that the engine lacks: JSON Web Tokens, digests, and an old name.

They never raise: Rego's functions are undefined or false for what they cannot use.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import InvalidVersion, load_pem_x509_certificate

Function = tuple[str, int, Callable[..., Any]]
_SIZES = ("256", "384", "512")
_REFUSED: list[Any] = [False, {}, {}]


def decode(token: Any) -> list[Any]:
    """Header, claims and signature; an empty list, which no pattern fits, for what is no token."""
    try:
        found = jwt.api_jws.PyJWS().decode_complete(token, options={"verify_signature": False})
        return [found["header"], orjson.loads(found["payload"]), found["signature"].hex()]
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return []


def verifier(algorithm: str) -> Callable[[Any, Any], bool]:
    """A function that tells whether a key has signed a token."""

    def verify(token: Any, key: Any) -> bool:
        return isinstance(key, str) and any(
            _signed(token, one, algorithm) for one in _keys(key, algorithm)
        )

    return verify


def decode_verify(token: Any, wanted: Any) -> list[Any]:
    """``[valid, header, claims]`` under Rego's constraints: cert or secret, alg, iss, aud, time."""
    parts = decode(token)
    if not parts or not isinstance(wanted, dict) or not isinstance(parts[1], dict):
        return _REFUSED
    header, claims, _ = parts
    algorithm = str(header.get("alg"))
    kind = "secret" if algorithm.startswith("HS") else "cert"
    known = algorithm in _ALGORITHMS and wanted.get("alg", algorithm) == algorithm
    if not known or not verifier(algorithm)(token, wanted.get(kind)):
        return _REFUSED
    return [True, header, claims] if _claims_fit(claims, wanted) else _REFUSED


def _claims_fit(claims: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if "iss" in wanted and claims.get("iss") != wanted["iss"]:
        return False
    audience = claims.get("aud", [])
    audiences = audience if isinstance(audience, list) else [audience]
    if ("aud" in wanted or audiences) and wanted.get("aud") not in audiences:
        return False
    now = wanted.get("time", time.time_ns()) / 1e9
    try:
        begins, ends = float(claims.get("nbf", now)), float(claims.get("exp", now + 1))
    except (TypeError, ValueError):
        return False
    return bool(begins <= now < ends)


def _signed(token: Any, key: Any, algorithm: str) -> bool:
    try:
        jwt.api_jws.PyJWS().decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return False
    return True


def _keys(text: str, algorithm: str) -> list[Any]:
    """A shared secret, or the public keys of a PEM text or a JSON Web Key (Set)."""
    if algorithm.startswith("HS"):
        return [text]
    try:
        if text.lstrip().startswith("{"):
            entry = orjson.loads(text)
            entries = entry.get("keys", [entry])
            return [jwt.PyJWK(one, algorithm=algorithm).key for one in entries]
        if "BEGIN CERTIFICATE" in text:
            return [load_pem_x509_certificate(text.encode()).public_key()]
        return [load_pem_public_key(text.encode())]
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, InvalidVersion):
        return []


def _digest(name: str) -> Callable[[Any], str]:
    return lambda text: hashlib.new(name, str(text).encode(), usedforsecurity=False).hexdigest()


def _hmac(name: str) -> Callable[[Any, Any], str]:
    return lambda text, key: hmac.new(str(key).encode(), str(text).encode(), name).hexdigest()


def _re_match(pattern: Any, text: Any) -> bool:
    import re2

    try:
        return re2.search(str(pattern), str(text)) is not None
    except re2.error:
        return False


_ALGORITHMS = tuple(kind + size for kind in ("HS", "RS", "PS", "ES") for size in _SIZES)
FUNCTIONS: tuple[Function, ...] = (
    ("io.jwt.decode", 1, decode),
    ("io.jwt.decode_verify", 2, decode_verify),
    *((f"io.jwt.verify_{name.lower()}", 2, verifier(name)) for name in _ALGORITHMS),
    *((f"crypto.{name}", 1, _digest(name)) for name in ("md5", "sha1", "sha256")),
    *((f"crypto.hmac.{name}", 2, _hmac(name)) for name in ("md5", "sha1", "sha256", "sha512")),
    ("re_match", 2, _re_match),
)
