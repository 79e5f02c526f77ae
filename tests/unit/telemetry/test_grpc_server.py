from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message
from harness.prometheus_text import labels, samples
from harness.spans import SpanList

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.observe.metrics import LATENCY_BUCKETS, Registry
from dapr_common.observe.tracing import (
    NO_CONTEXT,
    RecordedSpan,
    SpanContext,
    Tracer,
    current_span,
    parse_grpc_trace_bin,
)
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import (
    ai_pb2,
    binding_pb2,
    invoke_pb2,
    pubsub_pb2,
    secret_pb2,
    state_pb2,
)
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.grpc.server import GrpcApi, GrpcApiSettings
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry, bad_baggage, trace_parent

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
API = "/dapr.proto.runtime.v1.Dapr/"
WORKFLOW = "/TaskHubSidecarService/Hello"


class Service:
    """Methods of the API that do as they are told; every other method is proxied to itself."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.inside: list[SpanContext] = []

    async def unary(self, request: Message, context: Context) -> bytes:
        span = current_span.get()
        self.inside.append(NO_CONTEXT if span is None else span.context)
        if self.failure is not None:
            raise self.failure
        return b"1234"

    async def stream(
        self, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message

    def methods(self) -> list[Method]:
        types: dict[str, Any] = {
            "GetState": state_pb2.GetStateRequest,
            "SaveState": state_pb2.SaveStateRequest,
            "DeleteState": state_pb2.DeleteStateRequest,
            "GetSecret": secret_pb2.GetSecretRequest,
            "InvokeBinding": binding_pb2.InvokeBindingRequest,
            "PublishEvent": pubsub_pb2.PublishEventRequest,
            "BulkPublishEventAlpha1": pubsub_pb2.BulkPublishRequest,
            "ConverseAlpha1": ai_pb2.ConversationRequest,
            "InvokeService": invoke_pb2.InvokeServiceRequest,
        }
        return [
            Method(API + name, "unary_unary", kind, None, self.unary)
            for name, kind in types.items()
        ]


class InitialMetadata(Context):
    """A call that keeps what would go out with its headers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sent: list[tuple[str, str | bytes]] = []

    def set_initial_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self.sent += metadata


class Stage:
    """A real server and the official client library."""

    def __init__(self, channel: grpc.aio.Channel, service: Service, port: int) -> None:
        self.channel = channel
        self.service = service
        self._port = port

    async def told_span(self, *sent: tuple[str, str | bytes]) -> SpanContext | None:
        """The span a GetState call is told of; the official library keeps that header back."""
        channel = GrpcChannel(f"127.0.0.1:{self._port}")
        answer = await channel.unary(API + "GetState", state_pb2.GetStateRequest(), metadata=sent)
        await channel.close()
        binary = dict(answer.initial_metadata).get("grpc-trace-bin")
        return parse_grpc_trace_bin(binary) if isinstance(binary, bytes) else None

    async def call(self, method: str, request: Message, *sent: tuple[str, str | bytes]) -> None:
        """Call; an answer of NOT_FOUND is one, too."""
        call = self.channel.unary_unary(
            method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=bytes,
        )
        try:
            await call(request, metadata=sent)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise


@asynccontextmanager
async def stage(
    tracer: Tracer, registry: Registry | None = None, *, error_codes: bool = False
) -> AsyncIterator[Stage]:
    service = Service()
    telemetry = GrpcServerTelemetry(
        tracer, registry, LATENCY_BUCKETS, app_id="a1", error_codes=error_codes
    )
    proxy = Method("*", "stream_stream", None, None, service.stream)
    settings = GrpcApiSettings(max_message_bytes=1 << 20, read_buffer_bytes=4096)
    server = GrpcApi(service.methods(), proxy, AllowList({}, "grpc"), telemetry, settings).server
    port = await server.listen_tcp("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Stage(channel, service, port)
    await server.close(1)


async def span_of(method: str, request: Message, *sent: tuple[str, str | bytes]) -> RecordedSpan:
    spans = SpanList()
    async with stage(Tracer(1, spans)) as found:
        await found.call(method, request, *sent)
    [span] = spans
    return span


# --- context ------------------------------------------------------------------------------------


async def test_the_caller_learns_the_span_and_the_handler_has_it() -> None:
    spans = SpanList()
    async with stage(Tracer(1, spans)) as found:
        told = await found.told_span(("traceparent", TRACEPARENT))
        [span] = spans
        assert (span.context.trace_id, span.parent_id) == (TRACE, PARENT)
        assert found.service.inside == [span.context]
    assert told is not None
    assert told.traceparent == span.context.traceparent


@pytest.mark.parametrize("method", [API + "InvokeService", "/other.Service/Method"])
def test_invocation_and_proxied_calls_have_headers_of_their_own(method: str) -> None:
    telemetry = GrpcServerTelemetry(Tracer(1, SpanList()), None, LATENCY_BUCKETS)
    called = InitialMetadata(None, method, [], "", None)
    telemetry.start_span(called)
    assert called.sent == []
    called.method = API + "GetState"
    telemetry.start_span(called)
    assert [name for name, _ in called.sent] == ["grpc-trace-bin"]


async def test_an_unsampled_trace_goes_on_with_a_new_span() -> None:
    spans = SpanList()
    async with stage(Tracer(1, spans)) as found:
        told = await found.told_span(("traceparent", TRACEPARENT[:-1] + "0"))
    assert told is not None
    assert (told.trace_id, told.sampled) == (TRACE, False)
    assert told.span_id != PARENT
    assert spans == []


async def test_where_nothing_takes_spans_there_is_none_to_tell() -> None:
    async with stage(Tracer(1)) as found:
        assert await found.told_span() is None
        assert found.service.inside == [NO_CONTEXT]


async def test_a_rate_of_zero_makes_no_spans() -> None:
    async with stage(Tracer(0, SpanList())) as found:
        assert await found.told_span(("traceparent", TRACEPARENT)) is None
        assert found.service.inside == [NO_CONTEXT]


def context(*pairs: tuple[bytes, bytes]) -> Context:
    return Context(None, API + "GetState", pairs, "", None)


def test_the_binary_parent_comes_first() -> None:
    other = SpanContext("1" * 32, "2" * 16, 1)
    binary = base64.b64encode(other.grpc_trace_bin)
    both = context((b"traceparent", TRACEPARENT.encode()), (b"grpc-trace-bin", binary))
    found = trace_parent(both)
    assert found is not None
    assert found.traceparent == other.traceparent
    text = context((b"grpc-trace-bin", b"AAAA"), (b"traceparent", TRACEPARENT.encode()))
    found = trace_parent(text)
    assert found is not None
    assert found.traceparent == TRACEPARENT
    assert trace_parent(context()) is None


def test_the_state_travels_with_the_text() -> None:
    found = trace_parent(context((b"traceparent", TRACEPARENT.encode()), (b"tracestate", b"a=b")))
    assert found is not None
    assert found.tracestate == "a=b"


async def test_bad_baggage_is_refused() -> None:
    assert bad_baggage(context()) is None
    assert bad_baggage(context((b"baggage", b"k=v"))) is None
    async with stage(Tracer(1)) as found:
        with pytest.raises(grpc.aio.AioRpcError, match="invalid baggage header: ") as refused:
            await found.call(API + "GetState", state_pb2.GetStateRequest(), ("baggage", "nothing"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# --- names and attributes -----------------------------------------------------------------------

DAPR = {"rpc.service": "Dapr"}
PUBLISH = DAPR | {"messaging.system": "pubsub", "messaging.destination.name": "t"}


def db(system: str, name: str, method: str) -> dict[str, str]:
    return DAPR | {
        "db.system": system,
        "db.name": name,
        "db.statement": API + method,
        "db.connection_string": system,
    }


@pytest.mark.parametrize(
    ("method", "request_", "more"),
    [
        ("GetState", state_pb2.GetStateRequest(store_name="st"), db("state", "st", "GetState")),
        ("SaveState", state_pb2.SaveStateRequest(store_name="st"), db("state", "st", "SaveState")),
        (
            "DeleteState",
            state_pb2.DeleteStateRequest(store_name="st"),
            db("state", "st", "DeleteState"),
        ),
        ("GetSecret", secret_pb2.GetSecretRequest(store_name="v"), db("secrets", "v", "GetSecret")),
        (
            "InvokeBinding",
            binding_pb2.InvokeBindingRequest(name="b"),
            db("bindings", "b", "InvokeBinding"),
        ),
        ("PublishEvent", pubsub_pb2.PublishEventRequest(topic="t"), PUBLISH),
        ("BulkPublishEventAlpha1", pubsub_pb2.BulkPublishRequest(topic="t"), PUBLISH),
        ("ConverseAlpha1", ai_pb2.ConversationRequest(name="echo"), {"rpc.system": "echo"}),
    ],
)
async def test_what_a_call_says_of_its_block(
    method: str, request_: Message, more: dict[str, str]
) -> None:
    span = await span_of(API + method, request_)
    assert (span.name, span.kind) == (API + method, "CLIENT")
    assert span.attributes == {"dapr.api": API + method, "dapr.protocol": "grpc"} | more
    assert not span.failed


async def test_invocation_is_named_after_its_target() -> None:
    message = common_pb2.InvokeRequest(method="orders")
    request = invoke_pb2.InvokeServiceRequest(id="a2", message=message)
    span = await span_of(API + "InvokeService", request)
    assert span.name == "CallLocal/a2/orders"
    assert span.attributes["rpc.service"] == "ServiceInvocation"
    assert span.attributes["net.peer.name"] == "a2"


@pytest.mark.parametrize(
    ("target", "kind"), [("a2", "CLIENT"), ("a1", "SERVER")], ids=["elsewhere", "own app"]
)
async def test_a_proxied_call_says_its_metadata_only(target: str, kind: str) -> None:
    method = "/other.Service/Method"
    span = await span_of(
        method,
        state_pb2.GetStateRequest(),
        ("dapr-app-id", target),
        ("dapr-api-token", "s3cret"),
        ("dapr-x-bin", b"1"),
        ("x", "y"),
    )
    assert (span.name, span.kind) == (method, kind)
    assert span.attributes == {"dapr-app-id": target}


async def test_calls_of_a_workflow_worker_are_served() -> None:
    span = await span_of(WORKFLOW, state_pb2.GetStateRequest())
    assert (span.name, span.kind) == (WORKFLOW, "SERVER")
    assert span.attributes == {"dapr.api": WORKFLOW, "dapr.protocol": "grpc"}


async def test_an_error_is_the_spans_with_its_message() -> None:
    spans = SpanList()
    async with stage(Tracer(1, spans)) as found:
        found.service.failure = DaprError("ERR_X", "no such key", grpc_code=GrpcCode.NOT_FOUND)
        await found.call(API + "GetState", state_pb2.GetStateRequest())
    [span] = spans
    assert (span.failed, span.error) == (True, "no such key")


def callee(method: str, name: str = "") -> list[RecordedSpan]:
    spans = SpanList()
    telemetry = GrpcServerTelemetry(Tracer(1, spans), None, LATENCY_BUCKETS)
    called = Context(None, method, [(b"traceparent", TRACEPARENT.encode())], "", None)
    telemetry.start_callee_span(called, name)
    telemetry.finish(called, GrpcCode.UNAVAILABLE, 1.0, 0, 0)
    return spans


def test_calls_of_other_sidecars() -> None:
    internal = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"
    assert callee(internal) == []
    [span] = callee(internal, "CallLocal/a1/orders")
    assert (span.name, span.kind, span.parent_id) == ("CallLocal/a1/orders", "SERVER", PARENT)
    assert span.attributes == {"dapr.api": internal, "dapr.protocol": "grpc"}
    assert span.error == "Unavailable"
    [span] = callee("/other.Service/Method")
    assert (span.name, span.kind, span.attributes) == ("/other.Service/Method", "SERVER", {})


def test_a_call_of_an_actor_is_a_span_that_its_handler_describes() -> None:
    method = "/dapr.proto.internals.v1.ServiceInvocation/CallActor"
    [span] = callee(method)
    assert (span.name, span.kind, span.parent_id) == (method, "SERVER", PARENT)
    assert callee(method + "Reminder") == []


def test_a_proxied_call_that_fails_says_why() -> None:
    spans = SpanList()
    telemetry = GrpcServerTelemetry(Tracer(1, spans), None, ())
    called = Context(
        None, "/other.Service/Method", [(b"traceparent", TRACEPARENT.encode())], "", None
    )
    telemetry.start_span(called)
    called.scratch["error"] = RpcError(GrpcCode.ABORTED, "not now")
    telemetry.finish(called, GrpcCode.ABORTED, 1.0, 0, 0)
    assert [span.error for span in spans] == ["not now"]


# --- counts -------------------------------------------------------------------------------------


async def test_calls_are_counted() -> None:
    registry = Registry((("app_id", "a1"),))
    request = state_pb2.GetStateRequest(store_name="st", key="k")
    async with stage(Tracer(0), registry, error_codes=True) as found:
        await found.call(API + "GetState", request)
        found.service.failure = DaprError("ERR_STATE_GET", "no", grpc_code=GrpcCode.NOT_FOUND)
        await found.call(API + "GetState", request)
    shown = samples(registry)
    method = {"app_id": "a1", "grpc_server_method": API + "GetState"}
    outcomes = {
        labels(**method, grpc_server_status="OK"): 1,
        labels(**method, grpc_server_status="NotFound"): 1,
    }
    prefix = "dapr_grpc_io_server_"
    assert shown[f"{prefix}completed_rpcs"] == outcomes
    assert shown[f"{prefix}server_latency_count"] == outcomes
    assert shown[f"{prefix}received_bytes_per_rpc_sum"] == {
        labels(**method): 2 * len(request.SerializeToString())
    }
    assert shown[f"{prefix}sent_bytes_per_rpc_sum"] == {labels(**method): 4}
    assert shown["dapr_error_code"] == {
        labels(app_id="a1", error_code="ERR_STATE_GET", category="state"): 1
    }


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.telemetry.grpc_server._LIMIT", 3)
    telemetry = GrpcServerTelemetry(Tracer(0), Registry(), LATENCY_BUCKETS)
    for number in range(10):
        telemetry.finish(Context(None, f"/a/{number}", [], "", None), GrpcCode.OK, 1, 2, 3)
    assert len(telemetry._bound) <= 3
