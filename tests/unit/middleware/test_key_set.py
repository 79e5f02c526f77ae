"""Keys from URLs, files and texts, and tokens verified with them."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.programs import free_port
from harness.stand_in_identity_provider import SigningKey, StandInIdentityProvider

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.security.jwks import KeySet, KeySourceError, TokenError

Opened = Callable[..., Awaitable[KeySet]]


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    made: list[KeySet] = []

    async def start(source: str, **options: Any) -> KeySet:
        made.append(KeySet(source, **options))
        await made[-1].open()
        return made[-1]

    yield start
    for one in made:
        await one.close()
        await one.close()


def text_of(*keys: SigningKey) -> str:
    return json.dumps({"keys": [key.public for key in keys]})


async def verified(keys: KeySet, token: str, **wanted: Any) -> dict[str, Any]:
    given = {"audience": "app", "issuer": None, "leeway": 0.0, **wanted}
    return await keys.verify(token, **given)


@pytest.mark.parametrize("path", ["/keys", "/.well-known/openid-configuration"])
async def test_keys_from_a_url(
    provider: StandInIdentityProvider, opened: Opened, path: str
) -> None:
    keys = await opened(provider.url + path)
    claims = await verified(keys, provider.token(), issuer=provider.url)
    assert claims["sub"] == "user"
    assert provider.asked["/keys"] == 1


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_keys_from_text_and_base64(opened: Opened, algorithm: str) -> None:
    key = SigningKey("one", algorithm)
    for source in (text_of(key), base64.b64encode(text_of(key).encode()).decode()):
        keys = await opened(source)
        assert await verified(keys, key.sign({"aud": "app", "n": 1})) == {"aud": "app", "n": 1}


async def test_a_file_is_read_again_when_it_changes(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_common.security.jwks_source._LOOK_SECONDS", 0.0)
    first, second = SigningKey("one"), SigningKey("two")
    file = tmp_path / "keys.json"
    file.write_text(text_of(first))
    keys = await opened(str(file))
    await verified(keys, first.sign({"aud": "app"}))
    file.write_text("{ half")
    await verified(keys, first.sign({"aud": "app"}))  # what could be read stays
    file.write_text(text_of(second))
    await verified(keys, second.sign({"aud": "app"}))
    with pytest.raises(TokenError, match="no known key"):
        await verified(keys, first.sign({"aud": "app"}))


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 10}, "has expired"),
        ({"nbf": NOW + 86_400}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "no claim 'aud'"),
        ({"iss": "https://other"}, "another issuer"),
        ({"iss": None}, "no claim 'iss'"),
    ],
)
async def test_refused_claims(
    provider: StandInIdentityProvider, opened: Opened, claims: dict[str, Any], reason: str
) -> None:
    keys = await opened(provider.url + "/keys")
    token = provider.token(**{"audience": "app", **claims})
    with pytest.raises(TokenError, match=reason) as error:
        await verified(keys, token, issuer=provider.url)
    assert not any(part in str(error.value) for part in token.split("."))


async def test_leeway(provider: StandInIdentityProvider, opened: Opened) -> None:
    keys = await opened(provider.url + "/keys")
    await verified(keys, provider.token(exp=int(time.time()) - 10), leeway=60)


def unsigned(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, None, algorithm="none")


async def test_refused_signatures(opened: Opened) -> None:
    key, stranger = SigningKey("one"), SigningKey("one")
    keys = await opened(text_of(key))
    claims = {"aud": "app"}
    shared = jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": "one"})
    nested = b'{"alg":"ES256","x":' + b"[" * 40_000
    deep = base64.urlsafe_b64encode(nested).decode() + ".e30.x"
    for token in (stranger.sign(claims), shared, unsigned(claims), deep, "a.b.c", "", "x" * 9000):
        with pytest.raises(TokenError):
            await verified(keys, token)


async def test_without_key_ids_every_key_is_tried(opened: Opened) -> None:
    one, two = SigningKey("one"), SigningKey("two")
    keys = await opened(text_of(one, two))
    token = jwt.encode({"aud": "app"}, two.private, algorithm="ES256")
    await verified(keys, token)


async def test_an_unknown_key_is_fetched_but_not_too_often(
    provider: StandInIdentityProvider, opened: Opened
) -> None:
    keys = await opened(provider.url + "/keys", min_refresh_interval=1.0)
    provider.keys = [SigningKey("next")]
    with pytest.raises(TokenError, match="no known key"):
        await verified(keys, provider.token())
    assert provider.asked["/keys"] == 1
    await asyncio.sleep(1.01)  # the interval itself is what is tested
    tries = [verified(keys, provider.token()) for _ in range(20)]
    await asyncio.gather(*tries)
    assert provider.asked["/keys"] == 2


async def test_a_provider_that_hangs_holds_up_only_unknown_keys(
    provider: StandInIdentityProvider, opened: Opened
) -> None:
    keys = await opened(provider.url + "/keys", min_refresh_interval=0.0, request_timeout=1.0)
    provider.hold()
    known = provider.token()
    waiting = asyncio.create_task(verified(keys, SigningKey("nobody").sign({"aud": "app"})))
    async with asyncio.timeout(20):
        await verified(keys, known)
        assert not waiting.done()
        with pytest.raises(TokenError, match="no known key"):
            await waiting
        await verified(keys, known)


async def test_a_fetch_under_way_ends_with_close(
    provider: StandInIdentityProvider, opened: Opened
) -> None:
    keys = await opened(provider.url + "/keys", min_refresh_interval=0.0, request_timeout=60)
    provider.hold()
    waiting = asyncio.create_task(verified(keys, SigningKey("nobody").sign({"aud": "app"})))
    while provider.asked["/keys"] < 2:
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await keys.close()
        with pytest.raises(TokenError):
            await waiting


async def test_keys_are_renewed(
    provider: StandInIdentityProvider, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_common.security.jwks._MAX_AGE_SECONDS", 0.02)
    keys = await opened(provider.url + "/keys", min_refresh_interval=0.0)
    old = provider.token()
    provider.keys = [SigningKey("next")]
    async with asyncio.timeout(20):
        while True:  # a key that was taken back is forgotten, though nobody asked for another
            try:
                await verified(keys, old)
            except TokenError:
                break
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("nothing at all", "expected an http"),
        ("x" * 300, "…"),
        ('{"keys": []}', "no public key"),
        ('{"nokeys": []}', "with 'keys'"),
        ("{", "no JSON"),
        ('{"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "EC", "crv": "P-256"}, 7]}', "no public"),
        ("http://", "invalid URL"),
        ("http://host:99999/", "invalid URL"),
        ("http://127.0.0.1:1/keys", "cannot be reached"),
    ],
)
async def test_sources_of_no_use(opened: Opened, source: str, text: str) -> None:
    with pytest.raises(KeySourceError, match=text):
        await opened(source)


async def test_short_rsa_keys_do_not_count(opened: Opened) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    entry = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key()))
    with pytest.raises(KeySourceError, match="no public key"):
        await opened(json.dumps({"keys": [entry]}))


async def test_a_provider_that_does_not_answer(
    provider: StandInIdentityProvider, opened: Opened
) -> None:
    provider.hold()
    with pytest.raises(KeySourceError, match=r"did not answer within 0\.1s"):
        await opened(provider.url + "/keys?secret=1", request_timeout=0.1)
    provider.release()
    with pytest.raises(KeySourceError, match="status 404") as error:
        await opened(provider.url + "/nokeys?secret=1")
    assert "secret" not in str(error.value)


async def test_own_certificate_authority(opened: Opened) -> None:
    authority = trustme.CA()
    key = SigningKey("one")

    async def answer(request: Request) -> Response:
        if request.path == b"/configuration":
            return Response(200, [], b'{"jwks_uri": "http://127.0.0.1/keys"}')
        return Response(200, [], text_of(key).encode() + b" " * int(request.query or b"0"))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = HttpServer(answer, max_body_bytes=None, max_header_bytes=1 << 16)
    port = free_port()
    await server.listen_tcp("127.0.0.1", port, ssl=context)
    url, trusted = f"https://127.0.0.1:{port}", authority.cert_pem.bytes().decode()
    try:
        keys = await opened(url, ca_certificate=trusted)
        await verified(keys, key.sign({"aud": "app"}))
        with pytest.raises(KeySourceError, match="certificate"):
            await opened(url)
        with pytest.raises(KeySourceError, match="without TLS"):
            await opened(url + "/configuration", ca_certificate=trusted)
        with pytest.raises(KeySourceError, match="more than 1 MiB"):
            await opened(f"{url}/?{2 << 20}", ca_certificate=trusted)
        with pytest.raises(KeySourceError, match="PEM"):
            await opened(url, ca_certificate="/nowhere.pem")
    finally:
        await server.close(0)
