"""Logins by a browser."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from harness.block_api import Answer
from harness.pipeline import Piped, Wrapped
from harness.stand_in_identity_provider import StandInIdentityProvider

from dapr_sidecar.components.middleware.oauth2 import OAuth2Middleware

CALLBACK = "http://app.example/back"


class Browser:
    """Keeps cookies and follows redirects to the login and back."""

    def __init__(self, pipe: Piped) -> None:
        self.pipe = pipe
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> Answer:
        if self.cookies:
            headers["cookie"] = "; ".join(
                f"{n}={v}" for n, v in {"other": "1", **self.cookies}.items()
            )
        answer = await self.pipe.call(path, **headers)
        if stored := answer.headers.get("set-cookie"):
            name, _, value = stored.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    async def log_in(self, answer: Answer) -> str:
        """Visit the provider a redirect leads to; gives the path it sends back to."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(answer.headers["location"], allow_redirects=False) as response,
        ):
            assert response.status == 302
            back = urlsplit(response.headers["Location"])
        assert f"{back.scheme}://{back.netloc}{back.path}" == CALLBACK
        return f"{back.path}?{back.query}"


async def started(piped: Wrapped, provider: StandInIdentityProvider, **more: str) -> Browser:
    known = {
        "clientID": provider.client_id,
        "clientSecret": provider.client_secret,
        "authURL": provider.url + "/authorize",
        "tokenURL": provider.url + "/token",
        "redirectURL": CALLBACK,
    }
    return Browser(await piped(OAuth2Middleware, "login", **{**known, **more}))


def in_seconds(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: later)


async def test_a_login(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    browser = await started(piped, provider, scopes="openid,email")
    first = await browser.get("/users/1?a=b")
    assert first.status == 302
    asked = dict(parse_qsl(urlsplit(first.headers["location"]).query))
    assert (asked["scope"], asked["redirect_uri"]) == ("openid email", CALLBACK)
    back = await browser.get(await browser.log_in(first))
    assert (back.status, back.headers["location"]) == (302, "/users/1?a=b")
    assert "HttpOnly" in back.headers["set-cookie"]
    assert "Secure" not in back.headers["set-cookie"]
    seen = await browser.get("/users/1?a=b", authorization="Bearer forged")
    assert seen.status == 200
    token = seen.json["headers"]["authorization"]
    assert token.startswith("Bearer ey")
    assert "forged" not in token
    assert token.split()[1] not in str(browser.cookies)  # sealed
    assert len(provider.token_requests) == 1


async def test_two_tabs(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    browser = await started(piped, provider)
    one, two = await browser.get("/one"), await browser.get("/two")
    for answer, path in ((one, "/one"), (two, "/two")):
        back = await browser.get(await browser.log_in(answer))
        assert back.headers["location"] == path


async def test_another_header_and_other_paths(
    provider: StandInIdentityProvider, piped: Wrapped
) -> None:
    browser = await started(piped, provider, authHeaderName="X-User", pathFilter="^/users")
    assert (await browser.get("/open")).status == 200
    # The path that the provider sends back to needs no match.
    await browser.get(await browser.log_in(await browser.get("/users")))
    assert "x-user" in (await browser.get("/users")).json["headers"]
    assert "x-user" not in (await browser.get("/open")).json["headers"]


async def test_by_https_only(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    browser = await started(piped, provider, forceHTTPS="true")
    first = await browser.get("/x")
    asked = dict(parse_qsl(urlsplit(first.headers["location"]).query))
    assert asked["redirect_uri"] == CALLBACK.replace("http:", "https:")
    assert "; Secure" in first.headers["set-cookie"]


@pytest.mark.parametrize(
    ("asked", "back"),
    [
        ("//evil.example/x", "/evil.example/x"),
        ("/\\evil.example/x", "/evil.example/x"),
        ("/\\/evil.example", "/evil.example"),
        ("/a\\b", "/a%5Cb"),
        ("/" + "a" * 3000, "/"),
    ],
)
async def test_only_back_to_own_paths(
    provider: StandInIdentityProvider, piped: Wrapped, asked: str, back: str
) -> None:
    browser = await started(piped, provider)
    answer = await browser.get(await browser.log_in(await browser.get(asked)))
    assert answer.headers["location"] == back


async def test_states_that_do_not_count(
    provider: StandInIdentityProvider, piped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, other = await started(piped, provider), await started(piped, provider)
    path = await browser.log_in(await browser.get("/x"))
    await other.get("/y")
    assert (await other.get(path)).status == 400  # begun in another browser
    assert (await other.pipe.call(path)).status == 400  # no cookie at all
    assert (await browser.get("/back?code=1&state=forged")).status == 400
    session_as_state = f"/back?code=1&state={browser.pipe.middleware._sealed('session', {}, 60)}"
    assert (await browser.get(session_as_state)).status == 400
    in_seconds(monkeypatch, 700)
    assert (await browser.get(path)).status == 400  # too late
    assert not provider.token_requests


async def test_sessions_end_and_cannot_be_forged(
    provider: StandInIdentityProvider, piped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = await started(piped, provider)
    await browser.get(await browser.log_in(await browser.get("/x")))
    (name,) = (name for name in browser.cookies if name.endswith("session"))
    good = browser.cookies[name]
    browser.cookies[name] = good[:-5] + "AAAA="
    assert (await browser.get("/x")).status == 302
    browser.cookies[name] = good
    assert (await browser.get("/x")).status == 200
    # A replica with the same client reads it; another client does not.
    assert (
        await Browser((await started(piped, provider)).pipe).pipe.call(
            "/x", cookie=f"{name}={good}"
        )
    ).status == 200
    stranger = await started(piped, provider, clientSecret="another")
    assert (await stranger.pipe.call("/x", cookie=f"{name}={good}")).status == 302
    in_seconds(monkeypatch, 3601)
    assert (await browser.get("/x")).status == 302


async def test_failures_at_the_server(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    browser = await started(piped, provider)
    path = await browser.log_in(await browser.get("/x"))
    provider.failing = 503
    answer = await browser.get(path)
    assert (answer.status, b"status 503" in answer.body) == (500, True)
    provider.failing = 0
    state = dict(parse_qsl(path.partition("?")[2]))["state"]
    assert (await browser.get(f"/back?error=access_denied&state={state}")).status == 403
    provider.token = lambda *_, **__: "x" * 5000  # type: ignore[method-assign]
    answer = await browser.get(path)
    assert (answer.status, b"larger than a cookie" in answer.body) == (500, True)


async def test_an_app_may_use_the_same_parameters(
    provider: StandInIdentityProvider, piped: Wrapped
) -> None:
    browser = await started(piped, provider)
    await browser.get(await browser.log_in(await browser.get("/x")))
    assert (await browser.get("/other?code=1&state=mine")).status == 200


@pytest.mark.parametrize(
    "wrong", [{"authURL": "login"}, {"redirectURL": "/back"}, {"tokenURL": "ftp://x"}]
)
async def test_settings_of_no_use(
    provider: StandInIdentityProvider, piped: Wrapped, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await started(piped, provider, **wrong)
