from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import orjson
import pytest
from harness.spans import SpanList
from sidecars import MiniSidecar, Table, http_app, pair

from dapr_common.http.client import ResponseError
from dapr_common.http.messages import Request, Response
from dapr_common.observe.tracing import SpanContext, Tracer
from dapr_sidecar.channel.http import HttpChannel

FORBIDDEN = (
    "failed to invoke, id: a1, err: rpc error: code = InvalidArgument desc = invalid method: "
    'method contains forbidden character: "x#f"'
)
NO_CHANNEL = "cannot invoke local endpoint: app channel not initialized"
NO_PEER_CHANNEL = "app channel is not initialized"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def test_local_call_reaches_the_app_without_extra_headers() -> None:
    async with pair() as (a1, _), http_app(a1) as app:
        status, headers, body = await a1.call(
            "POST",
            "/v1.0/invoke/a1/method/orders/7?x=1&y=a%20b&x=2",
            [
                (b"Content-Type", b"text/x"),
                (b"X-Req", b"v"),
                (b"Connection", b"x-drop"),
                (b"x-drop", b"1"),
            ],
            b"hello",
        )
        assert (status, body) == (200, b"hello")
        asked = app.requests[0]
        assert (asked.method, asked.path, asked.query) == ("POST", b"/orders/7", b"x=1&y=a%20b&x=2")
        names = {name for name, _ in asked.headers}
        assert names == {b"host", b"content-type", b"content-length", b"x-req"}
        assert headers[b"content-type"] == b"text/plain"


async def test_worked_example_between_two_sidecars() -> None:
    async with pair() as (a1, a2), http_app(a2) as app:
        status, _, body = await a1.call(
            "POST",
            "/v1.0/invoke/a2/method/bar%2Fbaz?x=1&y=%20",
            [
                (b"X-Test", b"v1"),
                (b"Connection", b"x-drop"),
                (b"x-drop", b"1"),
                (b"Baggage", b"k=v"),
                (b"X-Forwarded-For", b"1.2.3.4"),
                (b"Content-Type", b"application/x-www-form-urlencoded"),
            ],
            b"hello",
        )
        assert (status, body) == (200, b"hello")
        asked = app.requests[0]
        assert (asked.method, asked.path, asked.query) == ("POST", b"/bar/baz", b"x=1&y=%20")
        found = {name: app.header(name) for name, _ in asked.headers}
        assert found == {
            b"host": [f"127.0.0.1:{app.port}".encode()],
            b"content-length": [b"5"],
            b"content-type": [b"application/x-www-form-urlencoded"],
            b"baggage": [b"k=v"],
            b"x-test": [b"v1"],
            b"dapr-caller-app-id": [b"a1"],
            b"dapr-callee-app-id": [b"a2"],
            b"dapr-caller-namespace": [b"default"],
            b"forwarded": [b"for=10.9.9.1;by=10.9.9.1;host=vm"],
            b"x-forwarded-for": [b"1.2.3.4", b"10.9.9.1"],
            b"x-forwarded-host": [b"vm"],
        }


async def test_a_caller_cannot_have_left_out_who_it_is() -> None:
    named = (
        b"Dapr-Caller-App-Id, dapr-caller-namespace, dapr-callee-app-id, x-forwarded-for, x-drop"
    )
    async with pair() as (a1, a2), http_app(a2) as app:
        given = [(b"Connection", named), (b"X-Drop", b"1"), (b"Dapr-Caller-App-Id", b"other")]
        await a1.call("GET", "/v1.0/invoke/a2/method/x", given)
        assert app.header(b"dapr-caller-app-id") == [b"a1"]
        assert app.header(b"dapr-caller-namespace") == [b"default"]
        assert app.header(b"dapr-callee-app-id") == [b"a2"]
        assert app.header(b"x-forwarded-for") == [b"10.9.9.1"]
        assert app.header(b"x-drop") == []


@pytest.mark.parametrize("size", [0, 1, 2048, 2049, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_all_sizes_survive_the_hop(size: int, chunked: bool) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with pair() as (a1, a2), http_app(a2) as app:
        body = pieces(data[: size // 2], data[size // 2 :]) if chunked else data
        status, _, answer = await a1.call("POST", "/v1.0/invoke/a2/method/echo", [], body)
        assert (status, answer) == (200, data)
        # No chunk at all is no body.
        assert (app.header(b"transfer-encoding") == [b"chunked"]) is (chunked and size > 0)


async def test_known_length_stream_arrives_with_its_length() -> None:
    async with pair() as (a1, a2), http_app(a2) as app:
        body = pieces(b"a" * 100_000, b"b" * 50_000)
        status, _, answer = await a1.call(
            "PUT", "/v1.0/invoke/a2/method/echo", [], body, content_length=150_000
        )
        assert (status, len(answer)) == (200, 150_000)
        assert app.header(b"content-length") == [b"150000"]


async def test_answers_stream_as_they_come() -> None:
    gate = asyncio.Event()

    async def slowly(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            await gate.wait()
            yield b"second"

        return Response(200, [], body())

    async with pair() as (a1, a2), http_app(a2, slowly):
        response = await a1.client.request("GET", b"/v1.0/invoke/a2/method/x", [])
        chunks = response.chunks()
        assert await anext(chunks) == b"first"
        gate.set()
        assert await anext(chunks) == b"second"


async def test_request_and_answer_overlap() -> None:
    """The app answers while the client is still sending."""
    more = asyncio.Event()

    async def echo(request: Request) -> Response:
        return Response(200, [], request.chunks())

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await more.wait()
        yield b"two"

    async with pair() as (a1, a2), http_app(a2, echo):
        response = await a1.client.request("POST", b"/v1.0/invoke/a2/method/x", [], body())
        chunks = response.chunks()
        assert await anext(chunks) == b"one"
        more.set()
        assert await anext(chunks) == b"two"


async def test_error_answers_keep_status_body_and_get_json_when_untyped() -> None:
    async def handler(request: Request) -> Response:
        if request.path == b"/typed":
            return Response(404, [(b"Content-Type", b"text/x-foo")], b"nope")
        return Response(503, [], b"sorry")

    async with pair() as (a1, a2), http_app(a2, handler):
        status, headers, body = await a1.call("GET", "/v1.0/invoke/a2/method/typed")
        assert (status, headers[b"content-type"], body) == (404, b"text/x-foo", b"nope")
        assert headers[b"content-length"] == b"4"
        status, headers, body = await a1.call("GET", "/v1.0/invoke/a2/method/untyped")
        assert (status, headers[b"content-type"], body) == (503, b"application/json", b"sorry")


async def test_redirects_are_passed_on_and_trace_headers_of_the_app_are_not() -> None:
    async def handler(request: Request) -> Response:
        headers = [
            (b"Location", b"/elsewhere"),
            (b"Traceparent", b"00-11111111111111111111111111111111-1111111111111111-01"),
            (b"X-Multi", b"a"),
            (b"X-Multi", b"b"),
        ]
        return Response(302, headers)

    async with pair() as (a1, a2), http_app(a2, handler):
        response = await a1.client.request("GET", b"/v1.0/invoke/a2/method/r", [])
        await response.read()
        assert response.status == 302
        assert response.header(b"location") == b"/elsewhere"
        assert response.header(b"traceparent") is None
        assert [v for n, v in response.headers if n == b"x-multi"] == [b"a", b"b"]


async def test_target_by_header_and_by_credentials() -> None:
    async with pair() as (a1, _), http_app(a1) as app:
        await a1.call("GET", "/plain/../p?z=1", [(b"dapr-app-id", b"a1")])
        assert (app.requests[0].path, app.requests[0].query) == (b"/p", b"z=1")
        assert app.header(b"dapr-app-id") == []
        basic = b"Basic " + base64.b64encode(b"Dapr-App-Id:a1")
        await a1.call("GET", "/plain", [(b"Authorization", basic)])
        assert app.requests[1].path == b"/plain"
        assert app.header(b"authorization") == [basic]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        (
            "/v1.0/invoke/nope/method/x",
            500,
            "failed to invoke, id: nope, err: couldn't find service: nope",
        ),
        (
            "/v1.0/invoke/n%ff/method/x",
            500,
            "failed to invoke, id: n\ufffd, err: couldn't find service: n\ufffd",
        ),
        (
            "/v1.0/invoke//method/x",
            404,
            "failed getting app id either from the URL path or the header dapr-app-id",
        ),
        (
            "/v1.0/invoke/a1/method",
            404,
            "failed getting app id either from the URL path or the header dapr-app-id",
        ),
        ("/v1.0/invoke/a1/method/x%23f", 500, FORBIDDEN),
        (
            "/v1.0/invoke/a.b.c/method/x",
            500,
            "failed to invoke, id: a.b.c, err: invalid app id a.b.c",
        ),
        (
            "/v1.0/invoke/a1/method/x",
            500,
            "failed to invoke, id: a1, err: " + NO_CHANNEL,
        ),
        (
            "/v1.0/invoke/a2/method/x",
            500,
            "failed to invoke, id: a2, err: rpc error: code = Internal desc = " + NO_PEER_CHANNEL,
        ),
    ],
)
async def test_failures_in_dapr_words(path: str, status: int, message: str) -> None:
    async with pair() as (a1, _):
        got, headers, body = await a1.call("GET", path)
        assert got == status
        assert headers[b"content-type"] == b"application/json"
        assert orjson.loads(body) == {"errorCode": "ERR_DIRECT_INVOKE", "message": message}


async def test_without_resolver_even_local_calls_fail() -> None:
    sidecar = MiniSidecar("solo", None)
    await sidecar.start()
    try:
        async with http_app(sidecar):
            status, _, body = await sidecar.call("GET", "/v1.0/invoke/solo/method/x")
            assert status == 500
            assert b"name resolver not initialized" in body
            sidecar.block.ready = False
            _, _, body = await sidecar.call("GET", "/v1.0/invoke/solo/method/x")
            assert orjson.loads(body)["message"] == "invoke API is not ready"
    finally:
        await sidecar.stop()


async def test_body_over_the_limit_fails_the_call() -> None:
    async with pair() as (a1, a2), http_app(a2):
        status, _, body = await a1.call(
            "POST", "/v1.0/invoke/a2/method/x", [], b"x" * (1 << 20) + b"y"
        )
        assert status == 500
        assert b"stream too large" in body


async def test_dead_app_is_told_apart_from_dead_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair() as (a1, a2):
        async with http_app(a2):
            pass
        status, _, body = await a1.call("GET", "/v1.0/invoke/a2/method/x")
        assert status == 500
        assert b"error invoking app channel: dial tcp" in body
        table = a1.resolver
        assert isinstance(table, Table)
        table.addresses["gone"] = "127.0.0.1:1"
        table.asked.clear()
        _shorten_built_in_retries(a1)
        status, _, body = await a1.call("GET", "/v1.0/invoke/gone/method/x")
        message = orjson.loads(body)["message"]
        assert message.startswith(
            "failed to invoke, id: gone, err: failed to invoke target gone after 3 retries."
        )
        assert "rpc error: code = Unavailable desc = " in message
        assert table.asked == ["gone"] * 8  # each attempt looks for another instance
        assert table.forgotten == ["127.0.0.1:1"] * 4


def _shorten_built_in_retries(sidecar: MiniSidecar) -> None:
    from dapr_common.resiliency.policies import RetryPolicy
    from dapr_sidecar.resiliency.runner import PolicyRunner, Surroundings

    retry = RetryPolicy("x", "constant", 0.0, max_retries=3)
    sidecar.context.policies.builtin = lambda name: PolicyRunner(name, Surroundings(), retry=retry)  # type: ignore[method-assign]


async def test_server_sent_events() -> None:
    gate = asyncio.Event()

    async def events(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await gate.wait()
            yield b"data: 2\n\n"

        return Response(200, [(b"Content-Type", b"text/event-stream; charset=utf-8")], body())

    async with pair() as (a1, a2), http_app(a2, events):
        response = await a1.client.request(
            "GET", b"/v1.0/invoke/a2/method/e", [(b"Accept", b"Text/Event-Stream")]
        )
        assert response.header(b"content-type") == b"text/event-stream"
        assert response.header(b"cache-control") == b"no-cache"
        assert response.header(b"connection") == b"keep-alive"
        assert response.content_length is None
        chunks = response.chunks()
        assert await anext(chunks) == b"data: 1\n\n"
        gate.set()
        assert await anext(chunks) == b"data: 2\n\n"


async def test_trace_context_follows_the_call() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with pair() as (a1, a2), http_app(a2) as app:
        header = f"00-{trace}-b7ad6b7169203331-01".encode()
        await a1.call("GET", "/v1.0/invoke/a2/method/x", [(b"traceparent", header)])
        assert app.header(b"traceparent") == [header]
        # With tracing on, the app sees the span of its own sidecar.
        a2.internal._telemetry._tracer = Tracer(1, SpanList())
        a2.internal._telemetry.tracing = True
        await a1.call("GET", "/v1.0/invoke/a2/method/x", [(b"traceparent", header)])
        seen = app.header(b"traceparent")
        assert len(seen) == 1
        assert seen != [header]
    assert SpanContext(trace, "b7ad6b7169203331", 1).traceparent.encode() == header


async def test_app_token_replaces_the_callers() -> None:
    async with pair() as (a1, a2), http_app(a2, token="secret") as app:
        await a1.call("GET", "/v1.0/invoke/a2/method/x", [(b"dapr-api-token", b"mine")])
        assert app.header(b"dapr-api-token") == [b"secret"]


async def test_concurrency_slots_are_held_until_the_body_was_read() -> None:
    running = most = 0

    async def handler(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            yield b"x"
            await asyncio.sleep(0.01)
            running -= 1
            yield b"y"

        return Response(200, [], body())

    async with pair() as (a1, a2), http_app(a2, handler, max_concurrency=2):
        calls = [a1.call("GET", "/v1.0/invoke/a2/method/x") for _ in range(8)]
        assert [(s, b) for s, _, b in await asyncio.gather(*calls)] == [(200, b"xy")] * 8
        assert most == 2


async def test_client_that_leaves_frees_the_way() -> None:
    started, freed = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with pair() as (a1, a2), http_app(a2, hang):
        channel = a2.context.channel
        assert isinstance(channel, HttpChannel)
        gone = channel._client.gone

        def watched(connection: object) -> None:
            gone(connection)  # type: ignore[arg-type]
            freed.set()

        channel._client.gone = watched  # type: ignore[method-assign]
        call = asyncio.create_task(a1.call("GET", "/v1.0/invoke/a2/method/x"))
        await started.wait()
        for connection in list(a1.http.connections):
            connection.abort()
        async with asyncio.timeout(20):
            await freed.wait()
        with pytest.raises(ResponseError):
            await call
