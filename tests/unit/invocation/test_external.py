"""Redirects of endpoints outside Dapr: followed as Go's client follows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import orjson
import pytest
from sidecars import FakeApp, MiniSidecar, http_app, pair

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request, Response
from dapr_common.kube.resources import HttpEndpoint, NameValue
from dapr_sidecar.blocks.invocation import external
from dapr_sidecar.messaging.call import Answer


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
        secrets = (NameValue("Authorization", "endpoint's"), NameValue("X-Api-Key", "k"))
        a1.context.components.http_endpoints["e"] = HttpEndpoint(
            "e", f"http://127.0.0.1:{first.port}/base", secrets
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


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_secrets_stay_with_the_origin_they_are_for(host: str) -> None:
    """Another port is another server; the headers an endpoint adds are as secret as a cookie."""
    async with outside((307, f"http://{host}:{{other}}/there")) as (a1, _, other):
        got, _, body = await a1.call(
            "POST", "/v1.0/invoke/e/method/x", [(b"Cookie", b"c"), (b"X-A", b"1")], b"data"
        )
        assert (got, body) == (200, b"data")
        names = {name for name, _ in other.requests[0].headers}
        assert b"x-a" in names
        assert not names & {b"cookie", b"authorization", b"x-api-key"}


@pytest.mark.parametrize(
    ("user", "headers", "seen"),
    [
        ("u:p%40%3A", [], b"Basic dTpwQDo="),
        ("u", [], b"Basic dTo="),
        ("u:p", [(b"Authorization", b"Bearer t")], b"Bearer t"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_credentials_of_a_url(
    named: bool, user: str, headers: list[tuple[bytes, bytes]], seen: bytes
) -> None:
    async with outside((302, "http://localhost:{other}/y")) as (a1, app, other):
        url = f"http://{user}@127.0.0.1:{app.port}"
        if named:
            a1.context.components.http_endpoints["u"] = HttpEndpoint("u", url)
            await a1.call("GET", "/v1.0/invoke/u/method/x", headers)
            assert other.requests[0].header(b"authorization") is None
        else:
            await a1.call("GET", f"/v1.0/invoke/{quote(url, safe='')}/method/x", headers)
        assert app.requests[0].header(b"authorization") == seen


async def test_headers_of_an_endpoint() -> None:
    async with outside() as (a1, app, _):
        endpoints = a1.context.components.http_endpoints

        def given(*pairs: tuple[str, str]) -> None:
            headers = tuple(NameValue(name, value) for name, value in pairs)
            endpoints["e"] = HttpEndpoint("e", f"http://127.0.0.1:{app.port}", headers)

        path, body = "/v1.0/invoke/e/method/x", b"data"
        given(("X-A", "1"), ("x-a", "2"), ("Host", "h"), ("Content-Length", "9"), ("TRAILER", "t"))
        status, _, _ = await a1.call("POST", path, [(b"X-A", b"mine")], body)
        asked = app.requests[0]
        assert (status, await asked.read()) == (200, body)
        assert [value for name, value in asked.headers if name == b"x-a"] == [b"2"]
        assert asked.header(b"host") == b"127.0.0.1:%d" % app.port
        assert asked.header(b"trailer") is None
        given(("X A", "1"))
        status, _, answer = await a1.call("POST", path, [], body)
        assert status == 500
        assert orjson.loads(answer)["message"] == (
            'failed to invoke, id: e, err: net/http: invalid header field name "X A"'
        )


async def test_a_proxy_leads_outside_and_not_to_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    async with outside() as (a1, _, proxy), http_app(a1) as app:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        a1.context.components.http_endpoints["far"] = HttpEndpoint("far", "http://outside.test/b")
        for target in ("far", "http%3A%2F%2Foutside.test%2Fb"):
            assert (await a1.call("GET", f"/v1.0/invoke/{target}/method/x"))[0] == 200
        assert [(asked.path, asked.header(b"host")) for asked in proxy.requests] == [
            (b"/b/x", b"outside.test")
        ] * 2
        assert (await a1.call("GET", "/v1.0/invoke/a1/method/x"))[0] == 200
        assert len(app.requests) == 1


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


async def test_errors_do_not_tell_the_password() -> None:
    async with outside(*[(302, "again")] * 20) as (a1, app, _):
        endpoints = a1.context.components.http_endpoints
        endpoints["e"] = HttpEndpoint("e", f"http://u:pass@127.0.0.1:{app.port}/base")
        endpoints["bad"] = HttpEndpoint("bad", "http://u:pass@127.0.0.1:99999")
        for name in ("e", "bad"):
            got, _, body = await a1.call("GET", f"/v1.0/invoke/{name}/method/x")
            assert got == 500
            message = orjson.loads(body)["message"]
            assert "http://u:***@127.0.0.1" in message
            assert "pass" not in message


async def test_what_is_no_redirect_is_the_answer() -> None:
    for status, location in ((304, "next"), (300, "next"), (302, "")):
        async with outside((status, location)) as (a1, app, _):
            assert (await a1.call("GET", "/v1.0/invoke/e/method/x"))[0] == status
            assert len(app.requests) == 1


async def test_a_client_with_a_call_under_way_is_not_closed_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external, "_MANY_CLIENTS", 1)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        await go_on.wait()
        return Response(200, [], b"at last")

    one, two = FakeApp(slow), FakeApp()
    for app in (one, two):
        app.port = await app.server.listen_tcp("127.0.0.1", 0)
    async with pair() as (a1, _):
        path = "/v1.0/invoke/http://127.0.0.1:{}/method/x"
        waiting = asyncio.create_task(a1.call("GET", path.format(one.port)))
        await asked.wait()
        assert (await a1.call("GET", path.format(two.port)))[0] == 200
        go_on.set()
        status, _, body = await waiting
        assert (status, body) == (200, b"at last")
    for app in (one, two):
        await app.server.close(0)


async def test_an_answer_that_is_needed_whole_is_bounded() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(RpcError, match="larger than 5000 bytes") as caught:
        await Answer(500, (), "", endless()).read(5000)
    assert caught.value.code is GrpcCode.RESOURCE_EXHAUSTED
