"""Tokens of the sidecar's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness.pipeline import Piped, Wrapped
from harness.stand_in_identity_provider import StandInIdentityProvider

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.middleware.oauth2clientcredentials import ClientCredentialsMiddleware


async def started(piped: Wrapped, provider: StandInIdentityProvider, **more: str) -> Piped:
    known = {
        "headerName": "X-Token",
        "clientId": provider.client_id,
        "clientSecret": provider.client_secret,
        "tokenURL": provider.url + "/token",
    }
    return await piped(ClientCredentialsMiddleware, "credentials", **{**known, **more})


async def test_one_token_for_everybody(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    pipe = await started(piped, provider, scopes="a, b c")
    answers = await asyncio.gather(*(pipe.call(x_token="forged") for _ in range(20)))
    answers.append(await pipe.call())
    values = {answer.json["headers"]["x-token"] for answer in answers}
    assert len(values) == 1
    assert values.pop().startswith("Bearer ey")
    assert len(provider.token_requests) == 1
    assert provider.token_requests[0]["scope"] == "a b c"
    assert provider.token_requests[0]["grant_type"] == "client_credentials"


@pytest.mark.parametrize(
    ("style", "accepts", "styles"),
    [
        ("0", "header", ["header"]),
        ("0", "params", ["header", "params", "params"]),
        ("1", "params", ["params"]),
        ("2", "header", ["header"]),
    ],
)
async def test_where_id_and_secret_stand(
    provider: StandInIdentityProvider, piped: Wrapped, style: str, accepts: str, styles: list[str]
) -> None:
    provider.accepts = {accepts}
    pipe = await started(piped, provider, authStyle=style)
    assert (await pipe.call()).status == 200
    pipe.middleware._good_until = 0.0
    assert (await pipe.call()).status == 200
    found = [form["style"] for form in provider.token_requests]
    assert found == styles or found == styles * 2


async def test_more_parameters(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    pipe = await started(piped, provider, endpointParamsQuery="audience=a%20b&empty=")
    await pipe.call()
    assert provider.token_requests[0]["audience"] == "a b"
    assert provider.token_requests[0]["empty"] == ""


@pytest.mark.parametrize(("given", "kept"), [(3600, 3590), (8, 4), (None, 290)])
async def test_a_token_is_kept_until_shortly_before_its_end(
    provider: StandInIdentityProvider, piped: Wrapped, given: int | None, kept: float
) -> None:
    provider.expires_in = given
    pipe = await started(piped, provider)
    await pipe.call()
    left = pipe.middleware._good_until - asyncio.get_running_loop().time()
    assert left == pytest.approx(kept, abs=3)


async def test_other_paths_go_without(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    pipe = await started(piped, provider, pathFilter=".*/users/.*")
    assert "x-token" not in (await pipe.call("/other")).json["headers"]
    assert "x-token" in (await pipe.call("/users/1")).json["headers"]


async def test_failures_are_told_and_not_kept(
    provider: StandInIdentityProvider, piped: Wrapped
) -> None:
    pipe = await started(piped, provider)
    provider.failing = 503
    answer = await pipe.call()
    assert answer.status == 500
    assert b"status 503: temporarily_unavailable" in answer.body
    assert provider.client_secret.encode() not in answer.body
    provider.failing = 0
    assert (await pipe.call()).status == 200


async def test_a_server_that_hangs(
    provider: StandInIdentityProvider, piped: Wrapped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_sidecar.components.middleware.token_endpoint._SECONDS", 0.1)
    pipe = await started(piped, provider)
    provider.hold()
    async with asyncio.timeout(8):  # 10 s are what is waited otherwise
        answers = await asyncio.gather(*(pipe.call() for _ in range(5)))
    assert {answer.status for answer in answers} == {500}
    assert b"did not answer" in answers[0].body


async def test_a_caller_that_leaves_does_not_end_the_fetch(
    provider: StandInIdentityProvider, piped: Wrapped
) -> None:
    pipe = await started(piped, provider)
    provider.hold()
    first, second = (asyncio.create_task(pipe.call()) for _ in range(2))
    while not provider.asked:
        await asyncio.sleep(0.001)
    first.cancel()
    provider.release()
    assert (await second).status == 200
    assert provider.asked["/token"] == 1


async def test_close_ends_a_fetch(provider: StandInIdentityProvider, piped: Wrapped) -> None:
    pipe = await started(piped, provider)
    provider.hold()
    waiting = asyncio.create_task(pipe.call())
    while not provider.asked:
        await asyncio.sleep(0.001)
    async with asyncio.timeout(8):
        await pipe.middleware.close()
        assert (await waiting).status == 500


@pytest.mark.parametrize(
    "wrong",
    [
        {"headerName": "a b"},
        {"tokenURL": "/token"},
        {"authStyle": "3"},
        {"endpointParamsQuery": "nonsense"},
        {"pathFilter": "("},
        {"clientSecret": ""},
    ],
)
async def test_settings_of_no_use(
    provider: StandInIdentityProvider, piped: Wrapped, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as error:
        await started(piped, provider, **wrong)
    assert isinstance(error.value, SettingsError) or "pathFilter" in wrong
