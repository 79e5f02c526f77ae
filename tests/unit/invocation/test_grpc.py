from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from sidecars import LIMIT, MiniSidecar, Table, grpc_app, http_app, pair

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.http.messages import Request, Response
from dapr_common.resiliency.policies import RetryPolicy
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2
from dapr_sidecar.blocks.access_control import build
from dapr_sidecar.resiliency.runner import PolicyRunner, Surroundings

INVOKE = "/dapr.proto.runtime.v1.Dapr/InvokeService"
SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"


def request(
    target: str,
    method: str = "m",
    verb: str | None = "POST",
    data: bytes = b"body",
    query: str = "",
) -> invoke_pb2.InvokeServiceRequest:
    built = invoke_pb2.InvokeServiceRequest(id=target)
    built.message.method = method
    built.message.content_type = "text/plain"
    built.message.data.value = data
    if verb is not None:
        built.message.http_extension.verb = common_pb2.HTTPExtension.Verb.Value(verb)
        built.message.http_extension.querystring = query
    return built


def api(sidecar: MiniSidecar) -> GrpcChannel:
    return GrpcChannel(f"127.0.0.1:{sidecar.grpc_port}")


async def test_invoke_service_of_an_http_app() -> None:
    async def handler(request: Request) -> Response:
        headers = [
            (b"Content-Type", b"text/x"),
            (b"X-Reply", b"r1"),
            (b"Cache-Control", b"no-store"),
        ]
        return Response(200, headers, await request.read())

    async with pair() as (a1, a2), http_app(a2, handler) as app:
        channel = api(a1)
        result = await channel.unary(
            INVOKE,
            request("a2", query="k=v"),
            common_pb2.InvokeResponse,
            metadata=[("x-custom", "cv"), ("x-b-bin", b"\x00\x01")],
        )
        assert (result.message.content_type, result.message.data.value) == ("text/x", b"body")
        metadata = dict(result.initial_metadata)
        assert metadata["dapr-http-status"] == "200"
        assert metadata["x-reply"] == "r1"
        assert metadata["dapr-cache-control"] == "no-store"
        asked = app.requests[0]
        assert (asked.method, asked.path, asked.query) == ("POST", b"/m", b"k=v")
        assert app.header(b"x-custom") == [b"cv"]
        assert app.header(b"content-type") == [b"text/plain"]
        assert app.header(b"x-b-bin") == []
        await channel.close()


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_http_errors_become_statuses(target: str) -> None:
    async def handler(request: Request) -> Response:
        return Response(int(request.path[1:]), [], b'{"why": "bad"}')

    async with pair() as (a1, a2), http_app(a1 if target == "a1" else a2, handler):
        channel = api(a1)
        for status, code, phrase in [
            (400, GrpcCode.INTERNAL, "Bad Request"),
            (500, GrpcCode.UNKNOWN, "Internal Server Error"),
            (404, GrpcCode.NOT_FOUND, "Not Found"),
            (302, GrpcCode.UNKNOWN, "Found"),
        ]:
            with pytest.raises(RpcError) as failure:
                await channel.unary(INVOKE, request(target, str(status)), common_pb2.InvokeResponse)
            assert failure.value.code == code
            assert failure.value.message == phrase
            info = error_details_pb2.ErrorInfo()
            assert failure.value.status().details[0].Unpack(info)
            assert info.reason == phrase
            assert dict(info.metadata) == {
                "http.code": str(status),
                "http.error_message": '{"why": "bad"}',
            }
        await channel.close()


@pytest.mark.parametrize(
    ("target", "verb", "text"),
    [
        ("a2", None, "missing HTTP extension field"),
        ("a2", "NONE", "invalid HTTP verb"),
        ("a1", None, "missing HTTP extension field"),
        ("", "GET", "failed to invoke, id: , err: app id is empty"),
        ("ghost", "GET", "failed to invoke, id: ghost, err: couldn't find service: ghost"),
    ],
)
async def test_failed_calls(target: str, verb: str | None, text: str) -> None:
    async with pair() as (a1, a2), http_app(a2), http_app(a1):
        channel = api(a1)
        with pytest.raises(RpcError) as failure:
            await channel.unary(INVOKE, request(target, verb=verb), common_pb2.InvokeResponse)
        assert failure.value.code == GrpcCode.INTERNAL
        assert failure.value.message.endswith(text)
        await channel.close()


async def on_invoke(
    request: common_pb2.InvokeRequest, context: Context
) -> common_pb2.InvokeResponse:
    if request.method == "fail":
        raise RpcError(
            GrpcCode.NOT_FOUND,
            "nothing here",
            [error_details_pb2.ErrorInfo(reason="R", domain="d")],
        )
    context.set_initial_metadata([("x-from-app", "1"), ("x-a-bin", b"\x01\x02")])
    context.set_trailers([("x-end", "e")])
    shown = {
        k: v for k, v in context.metadata if k.startswith(("x-", "dapr-")) and isinstance(v, str)
    }
    answer = common_pb2.InvokeResponse(content_type="application/json")
    answer.data.value = orjson.dumps(
        {
            "method": request.method,
            "query": request.http_extension.querystring,
            "verb": request.http_extension.verb,
            "type": request.content_type,
            "data": request.data.value.decode(),
            "metadata": shown,
        }
    )
    return answer


ON_INVOKE = Method(
    "/dapr.proto.runtime.v1.AppCallback/OnInvoke",
    "unary_unary",
    common_pb2.InvokeRequest,
    common_pb2.InvokeResponse,
    on_invoke,
)


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_http_client_of_a_grpc_app(target: str) -> None:
    async with pair() as (a1, a2), grpc_app(a1 if target == "a1" else a2, [ON_INVOKE]):
        status, headers, body = await a1.call(
            "POST",
            f"/v1.0/invoke/{target}/method/hello?a=b",
            [(b"Content-Type", b"text/plain"), (b"X-K", b"v"), (b"Cache-Control", b"no-store")],
            b"hi",
        )
        assert status == 200
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"x-from-app"] == b"1"
        assert b"x-a-bin" not in headers
        seen = orjson.loads(body)
        assert seen["metadata"].pop("x-k") == "v"
        assert seen["metadata"].pop("dapr-cache-control") == "no-store"
        assert (seen["method"], seen["query"], seen["verb"]) == ("hello", "a=b", 3)
        assert (seen["type"], seen["data"]) == ("text/plain", "hi")
        assert ("dapr-caller-app-id" in seen["metadata"]) is (target == "a2")
        status, headers, body = await a1.call("GET", f"/v1.0/invoke/{target}/method/fail")
        assert (status, headers[b"content-type"]) == (404, b"application/json")
        assert orjson.loads(body) == {
            "code": 5,
            "message": "nothing here",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "R",
                    "domain": "d",
                }
            ],
        }


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_grpc_client_of_a_grpc_app(target: str) -> None:
    async with pair() as (a1, a2), grpc_app(a1 if target == "a1" else a2, [ON_INVOKE]):
        channel = api(a1)
        result = await channel.unary(
            INVOKE,
            request(target, verb=None),
            common_pb2.InvokeResponse,
            metadata=[("x-m", "1")],
        )
        assert dict(result.initial_metadata)["x-from-app"] == "1"
        assert dict(result.initial_metadata)["x-a-bin"] == b"\x01\x02"
        assert dict(result.trailers)["x-end"] == "e"
        assert orjson.loads(result.message.data.value)["metadata"]["x-m"] == "1"
        with pytest.raises(RpcError) as failure:
            await channel.unary(INVOKE, request(target, "fail"), common_pb2.InvokeResponse)
        assert (failure.value.code, failure.value.message) == (
            GrpcCode.NOT_FOUND,
            "nothing here",
        )
        info = error_details_pb2.ErrorInfo()
        assert failure.value.status().details[0].Unpack(info)
        assert info.reason == "R"
        await channel.close()


# --- the internal service -----------------------------------------------------------------------


def internal_request(data: bytes = b"") -> internals.InternalInvokeRequest:
    built = internals.InternalInvokeRequest(ver=1)  # type: ignore[arg-type]
    built.metadata["X-Test"].values.append("v1")
    built.message.method = "echo"
    built.message.http_extension.verb = common_pb2.HTTPExtension.POST
    built.message.data.value = data
    return built


async def test_call_local_is_served() -> None:
    async with pair() as (_, a2), http_app(a2) as app:
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        result = await channel.unary(
            SERVICE + "CallLocal", internal_request(b"data"), internals.InternalInvokeResponse
        )
        assert result.message.status.code == 200
        assert result.message.message.data.value == b"data"
        assert app.header(b"x-test") == [b"v1"]
        await channel.close()


@pytest.mark.parametrize(
    ("messages", "code", "text"),
    [
        (
            [internals.InternalInvokeRequestStream()],
            GrpcCode.INVALID_ARGUMENT,
            "request does not contain the required fields in the leading chunk",
        ),
        (
            [
                internals.InternalInvokeRequestStream(request=internal_request()),
                internals.InternalInvokeRequestStream(
                    payload=common_pb2.StreamPayload(data=b"x", seq=3)
                ),
            ],
            GrpcCode.INTERNAL,
            "invalid sequence number received: 3 (expected: 0)",
        ),
        (
            [internals.InternalInvokeRequestStream(request=internal_request())] * 2,
            GrpcCode.INTERNAL,
            "request metadata found in non-leading chunk",
        ),
    ],
)
async def test_broken_streams_are_refused(
    messages: list[internals.InternalInvokeRequestStream], code: GrpcCode, text: str
) -> None:
    async with pair() as (_, a2), http_app(a2):
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        call = await channel.open(SERVICE + "CallLocalStream")
        for message in messages:
            await call.send(message)
        await call.half_close()
        with pytest.raises(RpcError) as failure:
            await call.take()
        assert failure.value.code == code
        assert failure.value.message.endswith(text)
        await channel.close()


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "many"])
async def test_a_length_that_is_none_is_passed_over(length: str) -> None:
    first = internals.InternalInvokeRequestStream(request=internal_request())
    first.request.metadata["content-length"].values.append(length)
    async with pair() as (_, a2), http_app(a2) as app:
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        call = await channel.open(SERVICE + "CallLocalStream", timeout=30)
        await call.send(first)
        await call.half_close()
        assert await call.take()
        assert len(app.requests) == 1
        await channel.close()


@pytest.mark.parametrize(
    ("name", "value"), [("content-type", "application/grpc"), ("content-length", "10")]
)
async def test_a_body_without_end_does_not_fill_the_memory(name: str, value: str) -> None:
    """Of what an app takes only whole no more is held than a message may have."""
    first = internals.InternalInvokeRequestStream(request=internal_request())
    first.request.metadata[name].values.append(value)
    async with pair() as (_, a2), http_app(a2) as app:
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        call = await channel.open(SERVICE + "CallLocalStream", timeout=30)
        await call.send(first)
        with contextlib.suppress(RpcError):  # it may be over before all is sent
            for seq in range(8):
                payload = common_pb2.StreamPayload(data=b"x" * (LIMIT // 4), seq=seq)
                await call.send(internals.InternalInvokeRequestStream(payload=payload))
            await call.half_close()
        with pytest.raises(RpcError) as failure:
            await call.take()
        assert failure.value.code == GrpcCode.RESOURCE_EXHAUSTED
        assert f"larger than {LIMIT} bytes (--max-body-size)" in failure.value.message
        assert app.requests == []
        await channel.close()


# --- proxying -----------------------------------------------------------------------------------


async def say(request: bytes, context: Context) -> bytes:
    context.set_initial_metadata([("x-say", "s")])
    context.set_trailers([("x-end", "e")])
    names = sorted(name for name, _ in context.metadata if name.startswith(("x-", "dapr-")))
    return request + b"|" + ",".join(names).encode()


async def fail(request: bytes, context: Context) -> bytes:
    raise RpcError(GrpcCode.NOT_FOUND, "nothing here", [any_pb2.Any(value=b"x")])


async def chat(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for message in requests:
        yield message.upper()


APP = [
    Method("/my.Echo/Say", "unary_unary", None, None, say),
    Method("/my.Echo/Fail", "unary_unary", None, None, fail),
    Method("/my.Echo/Chat", "stream_stream", None, None, chat),
]


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_unknown_methods_reach_the_app(target: str) -> None:
    async with pair() as (a1, a2), grpc_app(a1 if target == "a1" else a2, APP):
        channel = api(a1)
        metadata = [("dapr-app-id", target), ("x-m", "1")]
        result = await channel.unary("/my.Echo/Say", b"payload", metadata=metadata)
        more = b"dapr-callee-app-id,dapr-caller-app-id,x-m" if target == "a2" else b"x-m"
        assert result.message == b"payload|" + more
        assert dict(result.initial_metadata)["x-say"] == "s"
        assert dict(result.trailers)["x-end"] == "e"
        with pytest.raises(RpcError) as failure:
            await channel.unary("/my.Echo/Fail", b"x", metadata=metadata)
        assert (failure.value.code, failure.value.message) == (
            GrpcCode.NOT_FOUND,
            "nothing here",
        )
        assert failure.value.details_bin
        with pytest.raises(RpcError) as failure:
            await channel.unary("/my.Echo/Unknown", b"x", metadata=metadata)
        assert failure.value.code == GrpcCode.UNIMPLEMENTED
        call = await channel.open("/my.Echo/Chat", metadata)
        for word in (b"one", b"two"):
            await call.send(word)
            assert await call.take() == [word.upper()]
        await call.half_close()
        assert await call.take() == []
        await channel.close()


@pytest.mark.parametrize("name", ["dapr-callee-app-id", "dapr-app-id"])
async def test_the_internal_port_leads_to_its_own_app_only(name: str) -> None:
    """Whoever is sent on from there would have that sidecar's identity at the next one."""
    async with pair() as (a1, a2), grpc_app(a2, APP):
        table = a1.block.book.resolver
        assert isinstance(table, Table)
        for sidecar, target in ((a1, "a2"), (a1, "a2.default"), (a2, "ghost"), (a2, "a1.a2")):
            channel = GrpcChannel(f"127.0.0.1:{sidecar.internal_port}")
            with pytest.raises(RpcError) as failure:
                await channel.unary("/my.Echo/Say", b"x", metadata=[(name, target)])
            await channel.close()
            assert failure.value.code == GrpcCode.PERMISSION_DENIED
            assert f"calls to '{target}' are not passed on" in failure.value.message
        # With its namespace, too, it is the app next to this sidecar, and nobody is asked for it.
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        for target in ("a2", "a2.default"):
            result = await channel.unary("/my.Echo/Say", b"x", metadata=[(name, target)])
            assert result.message.startswith(b"x|")
        await channel.close()
        assert table.asked == []


async def test_the_own_app_is_no_other_sidecars_with_its_namespace_either() -> None:
    async with pair() as (a1, _), grpc_app(a1, APP):
        table = a1.block.book.resolver
        assert isinstance(table, Table)
        channel = api(a1)
        for name in ("dapr-app-id", "dapr-callee-app-id"):
            metadata = [(name, "a1.default"), ("x-m", "1")]
            result = await channel.unary("/my.Echo/Say", b"x", metadata=metadata)
            assert b"dapr-caller-app-id" not in result.message
        await channel.close()
        assert table.asked == []


async def test_access_control_is_asked_for_the_own_apps_calls_too() -> None:
    rules = build({"defaultAction": "deny", "trustDomain": "public"}, http=False)
    async with pair(rules) as (_, a2), grpc_app(a2, APP):
        channel = api(a2)
        for target in ("a2", "a2.default"):
            with pytest.raises(RpcError) as failure:
                await channel.unary("/my.Echo/Say", b"x", metadata=[("dapr-app-id", target)])
            assert failure.value.code == GrpcCode.PERMISSION_DENIED
            assert failure.value.message.endswith("id:  operation: /my.Echo/Say verb: NONE")
        await channel.close()


NOT_FOUND = "required metadata dapr-callee-app-id or dapr-app-id not found"
NO_TARGET = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"


@pytest.mark.parametrize(
    ("method", "metadata", "text"),
    [
        (
            "/other.S/M",
            [],
            NO_TARGET,
        ),
        (
            "/dapr.proto.runtime.v1.Dapr/NoSuch",
            [],
            "failed to proxy request: " + NOT_FOUND,
        ),
        ("/other.S/M", [("dapr-app-id", "ghost")], "couldn't find service: ghost"),
    ],
)
async def test_proxy_without_a_way(method: str, metadata: list[tuple[str, str]], text: str) -> None:
    async with pair() as (a1, _):
        channel = api(a1)
        with pytest.raises(RpcError) as failure:
            await channel.unary(method, b"", metadata=metadata)
        assert (failure.value.code, failure.value.message) == (GrpcCode.UNKNOWN, text)
        await channel.close()


async def test_unary_proxying_is_retried_and_streams_are_refused() -> None:
    tries = 0

    async def flaky(request: bytes, context: Context) -> bytes:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RpcError(GrpcCode.ABORTED, "again")
        return request

    async with pair() as (a1, a2):
        retry = RetryPolicy("r", "constant", 0.0, max_retries=5)
        runner = PolicyRunner("p", Surroundings(), retry=retry)
        a1.context.policies.app = lambda app_id, endpoint: runner  # type: ignore[method-assign]
        method = Method("/my.Echo/Flaky", "unary_unary", None, None, flaky)
        async with grpc_app(a2, [*APP, method]):
            channel = api(a1)
            metadata = [("dapr-app-id", "a2")]
            assert (await channel.unary("/my.Echo/Flaky", b"x", metadata=metadata)).message == b"x"
            assert tries == 3
            call = await channel.open("/my.Echo/Chat", metadata)
            await call.send(b"1")
            await call.send(b"2")
            with pytest.raises(RpcError) as failure:
                await call.take()
            assert failure.value.code == GrpcCode.FAILED_PRECONDITION
            call = await channel.open("/my.Echo/Chat", [*metadata, ("dapr-stream", "true")])
            for word in (b"one", b"two"):
                await call.send(word)
                assert await call.take() == [word.upper()]
            call.cancel()
            await channel.close()


async def test_proxy_reconnects_once() -> None:
    async with pair() as (a1, a2):
        table = a1.resolver
        assert isinstance(table, Table)
        good = table.addresses["a2"]
        answers = ["127.0.0.1:1", good]

        async def resolve(app_id: str, namespace: str, port: int) -> str:
            return answers.pop(0)

        table.resolve = resolve  # type: ignore[method-assign]
        async with grpc_app(a2, APP):
            channel = api(a1)
            result = await channel.unary("/my.Echo/Say", b"p", metadata=[("dapr-app-id", "a2")])
            assert result.message.startswith(b"p|")
            assert table.forgotten == ["127.0.0.1:1"]
            await channel.close()


async def test_a_client_that_gives_up_ends_the_apps_call() -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def forever(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async for message in requests:
                started.set()
                yield message
        finally:
            ended.set()

    method = Method("/my.Echo/For", "stream_stream", None, None, forever)
    async with pair() as (a1, a2), grpc_app(a2, [method]):
        channel = api(a1)
        call = await channel.open("/my.Echo/For", [("dapr-app-id", "a2")])
        await call.send(b"x")
        assert await call.take() == [b"x"]
        call.cancel()
        async with asyncio.timeout(20):
            await ended.wait()
        await channel.close()


# --- callers that are not ours ------------------------------------------------------------------


def leading(verb: str, length: str | None) -> internals.InternalInvokeRequestStream:
    built = internals.InternalInvokeRequestStream(request=internal_request())
    built.request.message.http_extension.verb = common_pb2.HTTPExtension.Verb.Value(verb)  # type: ignore[assignment]
    if length is not None:
        built.request.metadata["Content-Length"].values.append(length)
    return built


def chunk(data: bytes, seq: int) -> internals.InternalInvokeRequestStream:
    payload = common_pb2.StreamPayload(data=data, seq=seq)
    return internals.InternalInvokeRequestStream(payload=payload)


@pytest.mark.parametrize(
    ("verb", "length", "chunks", "wanted"),
    [
        ("GET", None, [], (b"", [], [])),
        ("GET", None, [b"odd"], (b"odd", [], [b"chunked"])),
        ("POST", "0", [], (b"", [b"0"], [])),
        ("POST", "6", [b"abc", b"def"], (b"abcdef", [b"6"], [])),
        ("POST", "9", [b"short"], (b"short", [b"5"], [])),
        ("POST", None, [b"a", b"b"], (b"ab", [], [b"chunked"])),
        ("PUT", "70000", [b"x" * 35000] * 2, (b"x" * 70000, [b"70000"], [])),
    ],
)
async def test_streams_whose_end_comes_later(
    verb: str,
    length: str | None,
    chunks: list[bytes],
    wanted: tuple[bytes, list[bytes], list[bytes]],
) -> None:
    """Leading message, chunks and half-close in packets of their own, as Go sends them."""
    async with pair() as (_, a2), http_app(a2) as app:
        channel = GrpcChannel(f"127.0.0.1:{a2.internal_port}")
        call = await channel.open(SERVICE + "CallLocalStream")
        await call.send(leading(verb, length))
        for seq, data in enumerate(chunks):
            await asyncio.sleep(0.01)
            await call.send(chunk(data, seq))
        await asyncio.sleep(0.01)
        await call.half_close()
        body = b""
        seq = 0
        while messages := await call.take():
            for raw in messages:
                message = internals.InternalInvokeResponseStream.FromString(raw)
                assert message.HasField("response") is (message.response.status.code == 200)
                if message.HasField("payload"):
                    assert message.payload.seq == seq
                    assert len(message.payload.data) <= 2048
                    seq += 1
                    body += message.payload.data
        seen = (body, app.header(b"content-length"), app.header(b"transfer-encoding"))
        assert seen == wanted
        await channel.close()
