from __future__ import annotations

import pytest
from harness.block_api import SERVICE, HttpApi, grpc_api, loaded, make_context
from harness.spans import SpanList

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request
from dapr_common.observe.tracing import SpanContext, Tracer, current_span
from dapr_common.wire.dapr.proto.runtime.v1 import binding_pb2
from dapr_sidecar.api.grpc.bindings import methods
from dapr_sidecar.api.http.bindings import routes
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    InvokeError,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)

PATH = "/v1.0/bindings/out"


class FakeBinding(OutputBinding):
    operations = ("create", "get")

    def __init__(self) -> None:
        super().__init__(None, ComponentContext("out", "app1"))
        self.got: list[InvokeRequest] = []
        self.answer: InvokeResponse | None = None
        self.failure: Exception | None = None

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.got.append(request)
        if self.failure is not None:
            raise self.failure
        return self.answer


@pytest.fixture
def binding() -> FakeBinding:
    return FakeBinding()


@pytest.fixture
def block(binding: FakeBinding) -> BindingsBlock:
    context = make_context()
    context.components.output_bindings["out"] = loaded("out", binding)
    return BindingsBlock(context)


@pytest.fixture
def api(block: BindingsBlock) -> HttpApi:
    return HttpApi(routes(block))


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_data_is_sent_as_compact_json(
    api: HttpApi, binding: FakeBinding, method: str
) -> None:
    body = b'{"operation":"create", "data": {"b": [1, 2.5], "a": "<x>"}, "metadata": {"k": "v"}}'
    answer = await api.call(method, PATH, body)
    assert (answer.status, answer.body) == (204, b"")
    request = binding.got[0]
    assert request.data == b'{"a":"\\u003cx\\u003e","b":[1,2.5]}'
    assert (request.operation, dict(request.metadata)) == ("create", {"k": "v"})


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"operation":"get"}', b"null"),
        (b'{"operation":"get","data":"v"}', b'"v"'),
        (b'{"operation":"get","data":12345678901234567890123}', b"12345678901234567890123"),
        (b'{"Operation":"get","DATA":true,"metadata":null}', b"true"),
    ],
)
async def test_data(api: HttpApi, binding: FakeBinding, body: bytes, data: bytes) -> None:
    assert (await api.call("POST", PATH, body)).status == 204
    assert binding.got[0].data == data


async def test_answer_with_metadata(api: HttpApi, binding: FakeBinding) -> None:
    binding.answer = InvokeResponse(b"raw", {"statusCode": "200", "bad name\r\n": "a\r\nb: c"})
    answer = await api.call("POST", PATH, {"operation": "get"})
    assert (answer.status, answer.body) == (200, b"raw")
    assert answer.headers == {
        "content-type": "application/json",
        "metadata.statuscode": "200",
        "metadata.bad_name__": "a  b: c",
    }


async def test_error_with_metadata(api: HttpApi, binding: FakeBinding) -> None:
    binding.failure = InvokeError("received status code 404", {"statusCode": "404"})
    answer = await api.call("POST", PATH, {"operation": "get"})
    text = "error invoking output binding out: received status code 404"
    assert answer.error == (500, "ERR_INVOKE_OUTPUT_BINDING", text)
    assert answer.headers["metadata.statuscode"] == "404"


async def test_a_failure_is_raised_to_where_errors_are_counted(
    block: BindingsBlock, binding: FakeBinding
) -> None:
    binding.failure = InvokeError("no", {})
    body = b'{"operation":"get"}'
    request = Request("POST", PATH.encode(), b"", [], body=body, content_length=len(body))
    [route] = routes(block)
    with pytest.raises(DaprError) as failed:
        await route.handler(request, "out")
    assert failed.value.code == "ERR_INVOKE_OUTPUT_BINDING"


@pytest.mark.parametrize(
    ("path", "body", "cause"),
    [
        (PATH, {}, "out: operation field is missing from request"),
        ("/v1.0/bindings/no", {}, "no: operation field is missing from request"),
        ("/v1.0/bindings/no", {"operation": "x"}, "no: couldn't find output binding no"),
        (
            PATH,
            {"operation": "x"},
            "out: binding out does not support operation x. supported operations:create get",
        ),
    ],
)
async def test_what_is_checked(api: HttpApi, path: str, body: object, cause: str) -> None:
    text = f"error invoking output binding {cause}"
    assert (await api.call("POST", path, body)).error == (500, "ERR_INVOKE_OUTPUT_BINDING", text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{oops",
        b"[]",
        b'{"operation":1}',
        b'{"operation":"get","metadata":{"k":1}}',
        b'{"operation":"get","metadata":[]}',
    ],
)
async def test_malformed_bodies(api: HttpApi, binding: FakeBinding, body: bytes) -> None:
    status, code, message = (await api.call("POST", PATH, body)).error
    assert (status, code) == (400, "ERR_MALFORMED_REQUEST")
    assert message.startswith("failed deserializing HTTP body: ")
    assert binding.got == []


async def test_trace_and_baggage_reach_the_component(api: HttpApi, binding: FakeBinding) -> None:
    parent = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "a=b")
    span = Tracer(1, SpanList()).start("x", "CLIENT", parent)
    token = current_span.set(span)
    try:
        await api.call("POST", PATH, {"operation": "get"}, {"baggage": "k=v"})
    finally:
        current_span.reset(token)
    assert dict(binding.got[0].metadata) == {
        "traceparent": span.context.traceparent,
        "tracestate": "a=b",
        "baggage": "k=v",
    }


async def test_grpc(block: BindingsBlock, binding: FakeBinding) -> None:
    async with grpc_api(methods(block)) as channel:
        binding.answer = InvokeResponse(b"\x00raw", {"k": "v"})
        call = SERVICE + "InvokeBinding"
        request = binding_pb2.InvokeBindingRequest(
            name="out", operation="create", data=b"\xff", metadata={"m": "1"}
        )
        got = await channel.unary(call, request, binding_pb2.InvokeBindingResponse)
        assert (got.message.data, dict(got.message.metadata)) == (b"\x00raw", {"k": "v"})
        assert binding.got[0].data == b"\xff"
        request.name = "no"
        with pytest.raises(RpcError) as caught:
            await channel.unary(call, request, binding_pb2.InvokeBindingResponse)
        assert caught.value.code is GrpcCode.INTERNAL
        assert caught.value.message == (
            "error invoking output binding no: couldn't find output binding no"
        )
        assert len(caught.value.status().details) == 1
