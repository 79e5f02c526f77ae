"""Bearer tokens."""

from __future__ import annotations

import asyncio
import time

import pytest
from harness.pipeline import Wrapped
from harness.stand_in_identity_provider import SigningKey, StandInIdentityProvider

from dapr_common.security.jwks import KeySourceError
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.middleware.bearer import BearerMiddleware


@pytest.mark.parametrize("stated", [True, False])
async def test_good_tokens_go_on(
    provider: StandInIdentityProvider, piped: Wrapped, stated: bool
) -> None:
    where = {"jwksURL": provider.url + "/keys"} if stated else {}
    pipe = await piped(BearerMiddleware, issuer=provider.url, audience="app", **where)
    for scheme in ("Bearer", "bearer"):
        answer = await pipe.call(authorization=f"{scheme} {provider.token()}")
        assert answer.status == 200
        assert answer.json["headers"]["authorization"].startswith(scheme)  # the app sees it too


async def test_refusals(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    pipe = await piped(BearerMiddleware, issuer=provider.url, audience="app")
    for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer "}):
        answer = await pipe.call(**headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    now = int(time.time())
    for token in (
        provider.token(audience="other"),
        provider.token(iss="https://elsewhere"),
        provider.token(exp=now - 301),
        SigningKey("first").sign({"iss": provider.url, "aud": "app", "exp": now + 60}),
        "nonsense",
    ):
        answer = await pipe.call(authorization=f"Bearer {token}")
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert token.encode() not in answer.body
    good = f"Bearer {provider.token(exp=now - 200)}"
    assert (await pipe.call(authorization=good)).status == 200
    smuggled = [(b"authorization", b"Bearer forged")]
    assert (await pipe.call(authorization=good, more=smuggled)).status == 401


async def test_a_new_key_of_the_issuer(
    provider: StandInIdentityProvider, piped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = await piped(BearerMiddleware, issuer=provider.url, audience="app")
    monkeypatch.setattr(pipe.middleware._keys, "_min_refresh", 0.0)
    provider.keys = [SigningKey("second")]
    assert (await pipe.call(authorization=f"Bearer {provider.token()}")).status == 200


async def test_an_issuer_that_cannot_be_asked(
    provider: StandInIdentityProvider, piped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.middleware.bearer._FETCH_SECONDS", 0.1)
    provider.hold()
    async with asyncio.timeout(3.5):  # 4 s are what is waited otherwise
        with pytest.raises(KeySourceError, match="did not answer"):
            await piped(BearerMiddleware, issuer=provider.url, audience="app")
    with pytest.raises(ValueError, match=r"'issuer'.*'jwksURL'"):
        await piped(BearerMiddleware, issuer="me", audience="app")
    with pytest.raises(SettingsError, match="'jwksURL'"):
        await piped(BearerMiddleware, issuer="me", audience="app", jwksURL="keys.json")
