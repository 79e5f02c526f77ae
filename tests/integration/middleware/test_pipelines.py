"""Middlewares in a real sidecar, before its API and before its app."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness.app import RecordingApp
from harness.http_call import acall
from harness.sidecar import Sidecar, component
from harness.stand_in_identity_provider import StandInIdentityProvider

BOTH = pytest.mark.parametrize("pipeline", ["httpPipeline", "appHttpPipeline"])
ROUTES = {"GET /users/1": {"status": 200, "body": "hello"}, "GET /open": {"status": 200}}


class Calls:
    """A sidecar with one middleware, called by its API."""

    def __init__(self, sidecar: Sidecar, app: RecordingApp) -> None:
        self.sidecar, self.app = sidecar, app

    async def get(self, path: str = "/users/1", **headers: str) -> Any:
        where = f"/v1.0/invoke/{self.sidecar.app_id}/method{path}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await acall(self.sidecar.http_port, "GET", where, headers=given)

    async def reached(self, count: int) -> list[dict[str, Any]]:
        """The app's requests, without the sidecar's own: so many, and others that came."""

        def own(line: str) -> bool:
            return line.startswith("{") and not json.loads(line)["path"].startswith("/dapr/")

        # What the app wrote may be read a moment after its answer.
        await asyncio.to_thread(self.app.wait_lines, own, count)
        return [json.loads(line) for line in self.app.stdout_lines if own(line)]


@asynccontextmanager
async def serving(pipeline: str, kind: str, **metadata: object) -> AsyncIterator[Calls]:
    name = kind.rpartition(".")[2]
    async with (
        RecordingApp(ROUTES) as app,
        Sidecar(
            app_port=app.port,
            resources=[component(name, kind, **metadata)],
            config={pipeline: {"handlers": [{"name": name, "type": kind}]}},
            ready="",  # the health route is behind the pipeline as well
        ) as sidecar,
    ):
        await asyncio.to_thread(sidecar.wait_line, "dapr initialized. Status: Running")
        yield Calls(sidecar, app)


@pytest.fixture
async def provider() -> AsyncIterator[StandInIdentityProvider]:
    async with StandInIdentityProvider() as found:
        yield found


@BOTH
async def test_ratelimit(pipeline: str) -> None:
    async with serving(pipeline, "middleware.http.ratelimit", maxRequestsPerSecond=0.01) as calls:
        assert (await calls.get(x_real_ip="10.0.0.1")).status == 200
        refused = await calls.get(x_real_ip="10.0.0.1")
        assert (refused.status, b"limit" in refused.body) == (429, True)
        assert (await calls.get(x_real_ip="10.0.0.2")).status == 200
        assert len(await calls.reached(2)) == 2


@BOTH
async def test_routerchecker(pipeline: str) -> None:
    rule = "^[A-Za-z0-9/._-]+$"
    async with serving(pipeline, "middleware.http.routerchecker", rule=rule) as calls:
        assert (await calls.get()).body == b"hello"
        assert (await calls.get("/cat%20password")).status == 400
        assert [seen["path"] for seen in await calls.reached(1)] == ["/users/1"]


@BOTH
async def test_bearer(pipeline: str, provider: StandInIdentityProvider) -> None:
    kind = "middleware.http.bearer"
    async with serving(pipeline, kind, issuer=provider.url, audience="app") as calls:
        good = f"Bearer {provider.token()}"
        assert (await calls.get(authorization=good)).body == b"hello"
        for headers in ({}, {"authorization": f"Bearer {provider.token(audience='other')}"}):
            refused = await calls.get(**headers)
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert [seen["headers"]["authorization"] for seen in await calls.reached(1)] == [good]


@BOTH
async def test_oauth2clientcredentials(pipeline: str, provider: StandInIdentityProvider) -> None:
    metadata = {
        "clientId": provider.client_id,
        "clientSecret": provider.client_secret,
        "tokenURL": provider.url + "/token",
        "headerName": "X-Upstream",
        "pathFilter": ".*/users/.*",
    }
    kind = "middleware.http.oauth2clientcredentials"
    async with serving(pipeline, kind, **metadata) as calls:
        provider.failing = 503
        refused = await calls.get()
        assert (refused.status, b"503" in refused.body) == (500, True)
        provider.failing = 0
        for path in ("/users/1", "/users/1", "/open"):
            assert (await calls.get(path)).status == 200
        seen = await calls.reached(3)
        one, two, three = (each["headers"].get("x-upstream") for each in seen)
        assert one == two
        assert one.startswith("Bearer ey")
        assert three is None
        assert len(provider.token_requests) == 1
        assert provider.client_secret not in calls.sidecar.log


async def test_oauth2(provider: StandInIdentityProvider) -> None:
    metadata = {
        "clientId": provider.client_id,
        "clientSecret": provider.client_secret,
        "authURL": provider.url + "/authorize",
        "tokenURL": provider.url + "/token",
        "redirectURL": "http://app.example/v1.0/invoke/callback",
        "pathFilter": ".*/users/.*",
    }
    async with serving("httpPipeline", "middleware.http.oauth2", **metadata) as calls:
        assert (await calls.get("/open")).status == 200
        port = calls.sidecar.http_port
        first = await calls.get("/users/1?a=b")
        login = first.headers["set-cookie"].partition(";")[0]
        there = urlsplit(first.headers["location"])
        assert f"{there.scheme}://{there.netloc}" == provider.url
        at_provider = await acall(there.port, "GET", f"{there.path}?{there.query}")
        back = urlsplit(at_provider.headers["location"])
        path = f"{back.path}?{back.query}"
        assert (await acall(port, "GET", path)).status == 400  # another browser
        done = await acall(port, "GET", path, headers={"cookie": login})
        assert done.status == 302
        assert done.headers["location"].endswith("/method/users/1?a=b")
        session = done.headers["set-cookie"].partition(";")[0]
        seen = await acall(port, "GET", done.headers["location"], headers={"cookie": session})
        assert (seen.status, seen.body) == (200, b"hello")
        report = calls.app.wait_report(path="/users/1")
        assert report["headers"]["authorization"].startswith("Bearer ey")
        assert report["query"] == "a=b"


@BOTH
async def test_opa(pipeline: str) -> None:
    rego = """
      package http
      default allow = {"allow": false, "status_code": 418, "additional_headers": {"x-why": "role"}}
      allow = {"allow": true, "additional_headers": {"X-Checked": input.request.method}} {
          input.request.path_parts[count(input.request.path_parts) - 1] == "1"
          input.request.headers["X-Role"] == "admin"
      }
    """
    kind = "middleware.http.opa"
    async with serving(pipeline, kind, rego=rego, includedHeaders="x-role") as calls:
        assert (await calls.get(x_role="admin", x_checked="forged")).body == b"hello"
        refused = await calls.get(x_role="guest")
        assert (refused.status, refused.headers["x-why"]) == (418, "role")
        assert [seen["headers"]["x-checked"] for seen in await calls.reached(1)] == ["GET"]


@pytest.mark.parametrize(
    ("kind", "metadata", "text"),
    [
        ("routerchecker", {"rule": "(?=x)"}, "'rule'"),
        ("opa", {"rego": "package http\n\nallow {\n  user == 1\n}"}, "line 4"),
        ("bearer", {"issuer": "http://127.0.0.1:1", "audience": "a"}, "cannot be reached"),
        ("ratelimit", {"maxRequestsPerSecond": "-1"}, "above 0"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(
    kind: str, metadata: dict[str, str], text: str
) -> None:
    manifest = component("broken", f"middleware.http.{kind}", **metadata)
    with Sidecar(resources=[manifest], ready="", exit_code=1) as sidecar:
        sidecar.wait_line(lambda line: "broken" in line and text in line)
        sidecar.wait_exit()
