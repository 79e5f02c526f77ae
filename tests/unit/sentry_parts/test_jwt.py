"""Tokens and keys: what they say, and which keys and files are refused."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.x509 import PrivateKey, write_private_key
from dapr_sentry.jwt import (
    ALGORITHMS,
    MOST_AUDIENCES,
    JwtError,
    JwtIssuer,
    key_id,
    load_issuer,
    make_jwks,
    new_key_files,
)
from dapr_sentry.settings import JwtSettings

APP = SpiffeId("public", "shop", "orders")
SKEW = timedelta(minutes=15)
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, PrivateKey] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def issuer_of(key: PrivateKey, settings: JwtSettings) -> JwtIssuer:
    return load_issuer(write_private_key(key), make_jwks(key, settings), settings, clock_skew=SKEW)


def read(token: str, jwks: bytes, audience: str) -> dict[str, Any]:
    """Verify as any client would: by the published set alone."""
    keys = jwt.PyJWKSet.from_json(jwks.decode())
    header = jwt.get_unverified_header(token)
    return jwt.decode(token, keys[header["kid"]].key, algorithms=[header["alg"]], audience=audience)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_verifies_by_the_published_set(algorithm: str) -> None:
    issuer = issuer_of(KEYS[algorithm], JwtSettings(algorithm=algorithm))
    token = issuer.issue(APP, [], datetime.now(UTC)).jwt
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert read(token, issuer.jwks, "public")["sub"] == "spiffe://public/ns/shop/orders"
    (entry,) = json.loads(issuer.jwks)["keys"]
    assert entry["alg"] == algorithm
    assert entry["use"] == "sig"
    assert "d" not in entry


def test_claims() -> None:
    settings = JwtSettings(issuer="https://sentry", ttl=timedelta(hours=2))
    issuer = issuer_of(RSA, settings)
    now = datetime.now(UTC).replace(microsecond=0)
    claims = read(issuer.issue(APP, ["vault"], now).jwt, issuer.jwks, "vault")
    token_id = claims.pop("jti")
    assert len(token_id) == 32
    assert int(token_id, 16) >= 0
    assert claims == {
        "sub": "spiffe://public/ns/shop/orders",
        "aud": ["public", "vault"],
        "iat": int(now.timestamp()),
        "nbf": int((now - SKEW).timestamp()),
        "exp": int((now + timedelta(hours=2)).timestamp()),
        "use": "sig",
        "iss": "https://sentry",
    }


def test_no_issuer_no_claim() -> None:
    issuer = issuer_of(RSA, JwtSettings())
    token = issuer.issue(APP, [], datetime.now(UTC)).jwt
    claims = jwt.decode(token, options={"verify_signature": False})
    assert "iss" not in claims
    assert claims["aud"] == ["public"]


def test_one_token_for_each_audience() -> None:
    issuer = issuer_of(RSA, JwtSettings())
    tokens = issuer.issue(APP, ["vault", "public", "vault", "db"], datetime.now(UTC))
    assert read(tokens.jwt, issuer.jwks, "db")["aud"] == ["public", "vault", "db"]
    assert {
        audience: read(token, issuer.jwks, audience)["aud"]
        for audience, token in tokens.per_audience.items()
    } == {"public": ["public"], "vault": ["vault"], "db": ["db"]}
    assert tokens.jwt not in repr(tokens)


def test_audiences_have_a_bound() -> None:
    issuer = issuer_of(KEYS["EdDSA"], JwtSettings(algorithm="EdDSA"))
    most = [str(number) for number in range(MOST_AUDIENCES - 1)]
    assert len(issuer.issue(APP, most, datetime.now(UTC)).per_audience) == MOST_AUDIENCES
    with pytest.raises(JwtError, match="too many JWT audiences: 101"):
        issuer.issue(APP, [*most, "more"], datetime.now(UTC))


def test_key_id_is_the_thumbprint() -> None:
    """As RFC 7638 says it: the required members in order, without blanks."""
    numbers = KEYS["ES256"].public_key().public_numbers()  # type: ignore[union-attr]
    assert isinstance(numbers, ec.EllipticCurvePublicNumbers)
    x, y = (
        base64.urlsafe_b64encode(number.to_bytes(32)).decode().rstrip("=")
        for number in (numbers.x, numbers.y)
    )
    text = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    expected = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert key_id(KEYS["ES256"]) == expected
    assert len(expected) == 44


def test_rsa_key_id_and_document() -> None:
    numbers = RSA.public_key().public_numbers()
    n = base64.urlsafe_b64encode(numbers.n.to_bytes(256)).decode().rstrip("=")
    expected = base64.b64encode(
        hashlib.sha256(f'{{"e":"AQAB","kty":"RSA","n":"{n}"}}'.encode()).digest()
    ).decode()
    assert json.loads(make_jwks(RSA, JwtSettings())) == {
        "keys": [{"alg": "RS256", "e": "AQAB", "kid": expected, "kty": "RSA", "n": n, "use": "sig"}]
    }


def test_a_configured_key_id() -> None:
    settings = JwtSettings(key_id="mine")
    issuer = issuer_of(RSA, settings)
    token = issuer.issue(APP, [], datetime.now(UTC)).jwt
    assert jwt.get_unverified_header(token)["kid"] == "mine"
    assert json.loads(issuer.jwks)["keys"][0]["kid"] == "mine"


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES384", "EdDSA"])
def test_a_fresh_pair_works(algorithm: str) -> None:
    settings = JwtSettings(algorithm=algorithm)
    key, jwks = new_key_files(settings)
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")
    issuer = load_issuer(key, jwks, settings, clock_skew=SKEW)
    assert read(issuer.issue(APP, [], datetime.now(UTC)).jwt, jwks, "public")


@pytest.mark.parametrize(
    ("key", "algorithm", "says"),
    [
        (KEYS["ES256"], "RS256", "RS256 does not fit the JWT signing key, which is an ECDSA key"),
        (KEYS["ES256"], "ES384", "ES384 does not fit .* an ECDSA key on secp256r1"),
        (RSA, "ES256", "ES256 does not fit .* an RSA key"),
        (RSA, "EdDSA", "EdDSA does not fit .* an RSA key"),
        (KEYS["EdDSA"], "RS256", "RS256 does not fit .* an Ed25519 key"),
        (RSA, "HS256", "unknown --jwt-signing-algorithm 'HS256': use one of RS256, "),
        (RSA, "none", "unknown --jwt-signing-algorithm 'none'"),
        (rsa.generate_private_key(65537, 1024), "RS256", "too short: RSA with 1024 bits"),
    ],
)
def test_keys_that_do_not_fit(key: PrivateKey, algorithm: str, says: str) -> None:
    with pytest.raises(JwtError, match=says):
        issuer_of(key, JwtSettings(algorithm=algorithm))


@pytest.mark.parametrize(
    ("jwks", "says"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON Web Key Set"),
        (b'{"keys":{}}', "no JSON Web Key Set"),
        (b'{"keys":[1]}', "no JSON Web Key Set"),
        (b'{"keys":[]}', "has no key '.*', which is the id of the JWT signing key"),
        (
            make_jwks(KEYS["ES256"], JwtSettings(key_id=key_id(RSA))),
            "is not the public half of the JWT key",
        ),
    ],
)
def test_sets_that_do_not_fit(jwks: bytes, says: str) -> None:
    with pytest.raises(JwtError, match=says):
        load_issuer(write_private_key(RSA), jwks, JwtSettings(), clock_skew=SKEW)


def test_a_broken_key_is_not_shown() -> None:
    with pytest.raises(JwtError) as caught:
        load_issuer(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0", b"", JwtSettings(), clock_skew=SKEW)
    assert "the JWT signing key cannot be used" in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_a_set_may_hold_more_keys() -> None:
    """So that keys can be changed: tokens of the one before are still verified."""
    old = json.loads(make_jwks(KEYS["ES256"], JwtSettings(algorithm="ES256")))["keys"]
    own = json.loads(make_jwks(RSA, JwtSettings()))["keys"]
    jwks = json.dumps({"keys": old + own}).encode()
    assert load_issuer(write_private_key(RSA), jwks, JwtSettings(), clock_skew=SKEW).jwks == jwks
