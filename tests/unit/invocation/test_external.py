"""Redirects of endpoints outside Dapr: followed as Go's client follows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from sidecars import FakeApp, MiniSidecar, pair

from dapr_common.http.messages import Request, Response
from dapr_common.kube.resources import HttpEndpoint, NameValue


@asynccontextmanager
async def outside(*places: tuple[int, str]) -> AsyncIterator[tuple[MiniSidecar, FakeApp, FakeApp]]:
    """An endpoint that redirects in turn to these places, and another server beside it."""
    left = list(places)

    async def redirect(request: Request) -> Response:
        await request.read()
        if not left:
            return Response(200, [], b"here")
        status, location = left.pop(0)
        return Response(status, [(b"Location", location.format(other=other.port).encode())])

    first, other = FakeApp(redirect), FakeApp()
    for app in (first, other):
        app.port = await app.server.listen_tcp("127.0.0.1", 0)
    async with pair() as (a1, _):
        secret = NameValue("Authorization", "endpoint's")
        a1.context.components.http_endpoints["e"] = HttpEndpoint(
            "e", f"http://127.0.0.1:{first.port}/base", (secret,)
        )
        yield a1, first, other
    for app in (first, other):
        await app.server.close(0)


@pytest.mark.parametrize(
    ("status", "sent", "followed", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "PUT", "GET", b""),
        (303, "DELETE", "GET", b""),
        (302, "HEAD", "HEAD", b""),
        (307, "POST", "POST", b"data"),
        (308, "PATCH", "PATCH", b"data"),
    ],
)
async def test_methods_and_bodies(status: int, sent: str, followed: str, body: bytes) -> None:
    async with outside((status, "next?q=1")) as (a1, app, _):
        got, _, _ = await a1.call(
            sent,
            "/v1.0/invoke/e/method/x/y",
            [(b"Content-Type", b"text/x"), (b"X-A", b"1")],
            None if sent == "HEAD" else b"data",
        )
        assert got == 200
        asked = app.requests[1]
        assert (asked.method, asked.path, asked.query) == (followed, b"/base/x/next", b"q=1")
        assert await asked.read() == body
        assert asked.header(b"x-a") == b"1"
        assert asked.header(b"authorization") == b"endpoint's"
        assert (asked.header(b"content-type") is not None) is (followed == sent)


async def test_secrets_stay_with_the_host_they_are_for() -> None:
    async with outside((307, "http://localhost:{other}/there")) as (a1, _, other):
        got, _, body = await a1.call(
            "POST", "/v1.0/invoke/e/method/x", [(b"Cookie", b"c"), (b"X-A", b"1")], b"data"
        )
        assert (got, body) == (200, b"data")
        names = {name for name, _ in other.requests[0].headers}
        assert b"x-a" in names
        assert not names & {b"cookie", b"authorization"}


async def test_redirects_come_to_an_end() -> None:
    async with outside(*[(302, "again")] * 20) as (a1, app, _):
        got, _, body = await a1.call("GET", "/v1.0/invoke/e/method/x")
        assert got == 500
        message = orjson.loads(body)["message"]
        assert message == (
            f'failed to invoke, id: e, err: Get "http://127.0.0.1:{app.port}/base/again": '
            "stopped after 10 redirects"
        )
        assert len(app.requests) == 10


async def test_what_is_no_redirect_is_the_answer() -> None:
    for status, location in ((304, "next"), (300, "next"), (302, "")):
        async with outside((status, location)) as (a1, app, _):
            assert (await a1.call("GET", "/v1.0/invoke/e/method/x"))[0] == status
            assert len(app.requests) == 1
