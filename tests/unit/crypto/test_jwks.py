"""``crypto.dapr.jwks``: sets as text, in files and at URLs, and when a URL is asked again."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.block_api import make

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.crypto.jwks import JwksCrypto
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.metadata import SettingsError

FILE_KEY = bytes(range(32))
Key = dict[str, str]
Open = Callable[..., Awaitable[JwksCrypto]]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def shared(name: str, fill: int = 0) -> Key:
    return {"kid": name, "kty": "oct", "k": b64(bytes([fill]) * 32)}


def key_set(*keys: Key) -> str:
    return json.dumps({"keys": keys})


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Site:
    """What serves a set; ``answer`` is the next body, or a status."""

    def __init__(self, answer: str | int) -> None:
        self.answer = answer
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._server = HttpServer(self._serve, max_body_bytes=None, max_header_bytes=1 << 16)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    async def start(self) -> None:
        self.port = await self._server.listen_tcp("127.0.0.1", 0)

    async def close(self) -> None:
        await self._server.close(0)

    async def _serve(self, request: Request) -> Response:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, int):
            return Response(self.answer, [], b"")
        return Response(200, [], self.answer.encode())


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site(key_set(shared("one")))
    await found.start()
    yield found
    await found.close()


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    made: list[JwksCrypto] = []

    async def run(jwks: str, **more: str) -> JwksCrypto:
        made.append(make(JwksCrypto, jwks=jwks, **more))
        await made[-1].open()
        return made[-1]

    yield run
    for one in made:
        await one.close()


async def use(provider: JwksCrypto, name: str, algorithm: str = "A256KW") -> bytes:
    """There and back; the wrapped key tells which key it was."""
    wrapped = await provider.wrap_key(FILE_KEY, algorithm, name)
    assert await provider.unwrap_key(wrapped, algorithm, name) == FILE_KEY
    return wrapped


async def test_a_set_as_text_and_base64(opened: Open) -> None:
    text = key_set(shared("one"), {"kid": "ü/2", "kty": "oct", "k": b64(bytes(32))})
    encoded = [encode(text.encode()) for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    for form in (text, f"\n {text} ", *(raw.decode() for raw in encoded)):
        provider = await opened(form)
        await use(provider, "one")
        await use(provider, "ü/2")


async def test_keys_of_every_kind(opened: Open) -> None:
    pair = rsa.generate_private_key(65537, 2048).private_numbers()
    public = {"kty": "RSA", "n": number(pair.public_numbers.n), "e": number(65537)}
    provider = await opened(
        key_set(
            {**public, "kid": "private", "d": number(pair.d)},
            {**public, "kid": "public"},
            {"kid": "curve", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kid": "broken", "kty": "oct", "k": "s3cret?"},
        )
    )
    wrapped = await provider.wrap_key(FILE_KEY, "RSA-OAEP-256", "public")
    assert await provider.unwrap_key(wrapped, "RSA-OAEP-256", "private") == FILE_KEY
    for name, text in (
        ("public", "no private part"),
        ("curve", "'EC' is not supported"),
        ("none", "there is no key 'none'"),
    ):
        with pytest.raises(KeyUseError, match=text):
            await provider.unwrap_key(wrapped, "RSA-OAEP-256", name)
    with pytest.raises(KeyUseError) as caught:
        await provider.wrap_key(FILE_KEY, "A256KW", "broken")
    assert "s3cret" not in str(caught.value)


async def test_a_file_counts_when_it_has_changed(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dapr_common.security.jwks_source._LOOK_SECONDS", 0.0)
    file = tmp_path / "keys.json"
    file.write_text(key_set(shared("one", 1)))
    provider = await opened(str(file))
    before = await use(provider, "one")
    file.write_text("{ half")
    assert await use(provider, "one") == before  # what could be read stays
    assert "stay in use" in caplog.text
    file.write_text(key_set(shared("one", 2), shared("two")))
    assert await use(provider, "one") != before
    await use(provider, "two")
    file.write_text(key_set(shared("two")))
    with pytest.raises(KeyUseError, match="no key 'one'"):
        await use(provider, "one")


async def test_a_url_is_fetched_once_and_again_for_an_unknown_key_but_not_too_often(
    opened: Open, site: Site
) -> None:
    provider = await opened(site.url)
    for _ in range(10):
        await use(provider, "one")
    site.answer = key_set(shared("one"), shared("two"))
    for _ in range(3):
        with pytest.raises(KeyUseError, match="no key 'two'"):
            await use(provider, "two")
    assert site.asked == 1
    provider._asked -= 601  # minRefreshInterval is 10 minutes
    await use(provider, "two")
    assert site.asked == 2


async def test_callers_share_a_fetch(opened: Open, site: Site) -> None:
    provider = await opened(site.url, minRefreshInterval="5s")
    provider._asked -= 6
    site.answer = key_set(shared("two"))
    site.gate.clear()
    waiting = [asyncio.create_task(use(provider, "two")) for _ in range(20)]
    while site.asked < 2:
        await asyncio.sleep(0.01)
    waiting.pop(0).cancel()  # whoever leaves does not take it from the others
    site.gate.set()
    await asyncio.gather(*waiting)
    assert site.asked == 3


async def test_a_key_that_was_taken_out_is_forgotten(opened: Open, site: Site) -> None:
    provider = await opened(site.url, minRefreshInterval="1s")
    site.answer = key_set(shared("two"))
    provider._asked -= 800
    await use(provider, "one")
    assert site.asked == 1
    provider._asked -= 200
    with pytest.raises(KeyUseError, match="no key 'one'"):
        await use(provider, "one")


@pytest.mark.parametrize("answer", [500, "", "[]", '{"keys": []}'])
async def test_a_site_that_fails_later_leaves_the_keys_there_were(
    opened: Open, site: Site, caplog: pytest.LogCaptureFixture, answer: str | int
) -> None:
    provider = await opened(site.url)
    site.answer = answer
    provider._asked -= 1000
    await use(provider, "one")
    assert site.asked == 2
    assert "stay in use" in caplog.text


@pytest.mark.parametrize(
    ("jwks", "text"),
    [
        ("", "missing required metadata field 'jwks'"),
        ("s3cret-which-is-none", "'jwks': expected a JSON Web Key Set"),
        ("/no/such/file", "http(s) URL: there is no file of that path"),
        ("http://", "'jwks': expected a JSON Web Key Set"),
        ('{"keys": [{"kid": "a", "k": "s3cret"', "'jwks': invalid key set"),
        ('{"key": "s3cret"}', "'jwks': expected a JSON object with 'keys'"),
        ('{"keys": [{"kty": "oct", "k": "s3cret"}]}', "'jwks': expected a key with a 'kid'"),
        ("http://127.0.0.1:1/keys", "'jwks': http://127.0.0.1:1/keys cannot be reached"),
    ],
)
async def test_sets_that_are_none(opened: Open, jwks: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await opened(jwks)
    assert text in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__
    assert "s3cret" not in repr(make(JwksCrypto, jwks="s3cret")._settings)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requestTimeout", "0"),
        ("requestTimeout", "-1s"),
        ("requestTimeout", "soon"),
        ("minRefreshInterval", "-5m"),
        ("minRefreshInterval", "often"),
    ],
)
async def test_times_that_are_none(opened: Open, field: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"'{field}'"):
        await opened(key_set(shared("one")), **{field: value})


async def test_a_site_that_does_not_answer(opened: Open, site: Site) -> None:
    site.gate.clear()
    with pytest.raises(SettingsError, match=r"'jwks': .* did not answer within 0\.2s"):
        await opened(site.url, requestTimeout="200ms")
    site.gate.set()
    site.answer = 404
    with pytest.raises(SettingsError, match=r"'jwks': .* answered with status 404"):
        await opened(site.url)
