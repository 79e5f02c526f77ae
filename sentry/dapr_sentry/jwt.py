"""JWTs beside certificates: the key pair they are signed with, and what they say."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import (
    CertificateError,
    PrivateKey,
    new_private_key,
    read_private_key,
    write_private_key,
)
from dapr_sentry.settings import JwtSettings

MOST_AUDIENCES = 100
"""Each costs a signature; nobody has that many."""

_LEAST_RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}
ALGORITHMS = (*_RSA, *_CURVES, "EdDSA")
_THUMBPRINT_MEMBERS = ("crv", "e", "kty", "n", "x", "y")  # RFC 7638, in its order


class JwtError(ValueError):
    """JWTs cannot be made: which file or flag is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a workload gets: one token for every audience together, and one for each."""

    jwt: str = field(repr=False)
    per_audience: Mapping[str, str] = field(repr=False)


class JwtIssuer:
    """Makes tokens of one key. ``jwks`` is the document its public key is published in."""

    def __init__(
        self,
        key: PrivateKey,
        jwks: bytes,
        settings: JwtSettings,
        *,
        clock_skew: timedelta,
    ) -> None:
        self.algorithm = settings.algorithm
        self.jwks = jwks
        self._key = key
        self._key_id = settings.key_id or key_id(key)
        self._issuer = settings.issuer
        self._ttl = settings.ttl
        self._skew = clock_skew

    def issue(self, subject: SpiffeId, audiences: Iterable[str], now: datetime) -> Tokens:
        """Tokens for the subject's trust domain and the audiences asked for.

        Raises ``JwtError`` when there are too many.
        """
        wanted = list(dict.fromkeys([subject.trust_domain, *audiences]))
        if len(wanted) > MOST_AUDIENCES:
            raise JwtError(f"too many JWT audiences: {len(wanted)}, at most {MOST_AUDIENCES}")
        return Tokens(
            jwt=self._token(subject, wanted, now),
            per_audience={audience: self._token(subject, [audience], now) for audience in wanted},
        )

    def _token(self, subject: SpiffeId, audiences: list[str], now: datetime) -> str:
        claims: dict[str, Any] = {
            "sub": str(subject),
            "iat": now,
            "nbf": now - self._skew,
            "exp": now + self._ttl,
            "aud": audiences,
            "jti": secrets.token_hex(16),
            "use": "sig",
        }
        if self._issuer:
            claims["iss"] = self._issuer
        return jwt.encode(
            claims, self._key, algorithm=self.algorithm, headers={"kid": self._key_id}
        )


def new_key_files(settings: JwtSettings) -> tuple[bytes, bytes]:
    """A fresh pair that fits the algorithm: ``jwt.key`` and ``jwks.json``. Raises ``JwtError``."""
    key = _new_key(settings.algorithm)
    return write_private_key(key), make_jwks(key, settings)


def make_jwks(key: PrivateKey, settings: JwtSettings) -> bytes:
    """The JSON Web Key Set with the public half of a key."""
    entry = {
        **_public_jwk(key),
        "alg": settings.algorithm,
        "kid": settings.key_id or key_id(key),
        "use": "sig",
    }
    return orjson.dumps({"keys": [entry]}, option=orjson.OPT_SORT_KEYS)


def load_issuer(
    key_pem: bytes, jwks: bytes, settings: JwtSettings, *, clock_skew: timedelta
) -> JwtIssuer:
    """The issuer of a stored pair. Raises ``JwtError`` when the files do not fit each other."""
    try:
        key = read_private_key(key_pem)
    except CertificateError as error:
        raise JwtError(f"the JWT signing key cannot be used: {error}") from error
    _check_algorithm(key, settings.algorithm)
    _check_published(key, jwks, settings.key_id or key_id(key))
    return JwtIssuer(key, jwks, settings, clock_skew=clock_skew)


def key_id(key: PrivateKey) -> str:
    """The key's name unless one is configured: base64 of its thumbprint (RFC 7638, SHA-256)."""
    public = _public_jwk(key)
    members = {name: public[name] for name in _THUMBPRINT_MEMBERS if name in public}
    return base64.b64encode(hashlib.sha256(orjson.dumps(members)).digest()).decode()


def _new_key(algorithm: str) -> PrivateKey:
    if algorithm in _RSA:
        return new_private_key("rsa")
    if algorithm == "EdDSA":
        return new_private_key("ed25519")
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    raise _unknown(algorithm)


def _check_algorithm(key: PrivateKey, algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise _unknown(algorithm)
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise JwtError(
                f"the JWT signing key is too short: RSA with {key.key_size} bits, "
                f"at least {_LEAST_RSA_BITS} are needed"
            )
        kind, fits = "an RSA key", algorithm in _RSA
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        kind, fits = "an Ed25519 key", algorithm == "EdDSA"
    else:
        curve = _CURVES.get(algorithm)
        kind = f"an ECDSA key on {key.curve.name}"
        fits = curve is not None and curve.name == key.curve.name
    if not fits:
        raise JwtError(
            f"--jwt-signing-algorithm {algorithm} does not fit the JWT signing key, which is {kind}"
        )


def _check_published(key: PrivateKey, jwks: bytes, name: str) -> None:
    """Nobody could verify a token whose key is not in the published set."""
    public = _public_jwk(key)
    for entry in _entries(jwks):
        if entry.get("kid") == name:
            if all(entry.get(member) == public[member] for member in public):
                return
            raise JwtError(f"key '{name}' of the JWKS file is not the public half of the JWT key")
    raise JwtError(
        f"the JWKS file has no key '{name}', which is the id of the JWT signing key: add it, or "
        "remove both files to have a new pair made"
    )


def _entries(jwks: bytes) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(jwks)
    except orjson.JSONDecodeError as error:
        raise JwtError(f"the JWKS file is no JSON: {error}") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise JwtError("the JWKS file is no JSON Web Key Set: expected an object with 'keys'")
    return entries


def _public_jwk(key: PrivateKey) -> dict[str, str]:
    found: dict[str, Any]
    if isinstance(key, rsa.RSAPrivateKey):
        found = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        found = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        found = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: found[name] for name in _THUMBPRINT_MEMBERS if name in found}


def _unknown(algorithm: str) -> JwtError:
    return JwtError(
        f"unknown --jwt-signing-algorithm '{algorithm}': use one of {', '.join(ALGORITHMS)}"
    )
