from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from google.protobuf import empty_pb2
from harness.block_api import loaded, make_context
from harness.spans import SpanList

from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.http.client import ConnectError
from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.kube import resources
from dapr_common.observe.tracing import NO_TRACEPARENT, Tracer
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.blocks.bindings import input as input_module
from dapr_sidecar.blocks.bindings.input import InputBindingSet
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.resiliency.base import CodedError, Operation, T


class FakeInput(InputBinding):
    def __init__(self, name: str) -> None:
        super().__init__(None, ComponentContext(name, "app1"))
        self.handler: EventHandler | None = None
        self.failures = 0
        self.log: list[str] = []

    async def start(self, handler: EventHandler) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("broker down")
        self.handler = handler
        self.log.append("start")

    async def stop(self) -> None:
        self.handler = None
        self.log.append("stop")

    async def emit(self, data: bytes = b"", **metadata: str) -> bytes | None:
        assert self.handler is not None
        return await self.handler(Event(data, metadata))


def add(context: SidecarContext, name: str, **properties: str) -> FakeInput:
    component = FakeInput(name)
    context.components.input_bindings[name] = loaded(name, component, None, **properties)
    return component


class HttpApp:
    """An app that keeps what it got and answers by path."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}

    async def handle(self, request: Request) -> Response:
        headers = {name.decode(): value.decode() for name, value in request.headers}
        path = request.path.decode()
        self.got.append((request.method, path, headers, await request.read()))
        status, body = self.answers.get(f"{request.method} {path}", (200, b""))
        return Response(status, [], body)


Start = Callable[..., Awaitable[InputBindingSet]]


@pytest.fixture
def context() -> SidecarContext:
    return make_context()


@pytest.fixture
async def app(context: SidecarContext) -> AsyncIterator[HttpApp]:
    found = HttpApp()
    server = HttpServer(found.handle, max_body_bytes=1 << 20, max_header_bytes=8192)
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = HttpChannel(
        "127.0.0.1",
        port,
        protocol="http",
        token="",
        max_concurrency=-1,
        max_header_bytes=8192,
        metrics=context.metrics,
    )
    context.channel = channel
    yield found
    await channel.close()
    await server.close(0)


@pytest.fixture
async def inputs(context: SidecarContext) -> AsyncIterator[InputBindingSet]:
    found = InputBindingSet(context, BindingsBlock(context))
    yield found
    await found.stop()


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(200, True), (204, True), (405, True), (404, False), (500, False), (302, False)],
)
async def test_probe(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet, status: int, wanted: bool
) -> None:
    app.answers["OPTIONS /tick"] = (status, b"")
    tick = add(context, "tick")
    await inputs.start()
    assert [(m, p) for m, p, _, _ in app.got] == [("OPTIONS", "/tick")]
    assert app.got[0][2]["content-type"] == "application/json"
    assert (tick.handler is not None) is wanted


async def test_a_named_direction_is_not_probed(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet
) -> None:
    add(context, "tick", direction="Output, INPUT")
    await inputs.start()
    assert (app.got, inputs.started) == ([], ["tick"])


async def test_routes(context: SidecarContext, app: HttpApp, inputs: InputBindingSet) -> None:
    for name, route in (("a", "/custom/route"), ("b", "plain"), ("c", "sp ace/é")):
        add(context, name, route=route)
    odd = add(context, "d", route="/ignored")
    entry = resources.NameValue("Route", "/ignored")
    manifest = resources.Component("d", "bindings.x", metadata=(entry,))
    context.components.input_bindings["d"] = Loaded(manifest, odd, {"route": "/ignored"})
    await inputs.start()
    assert [p for _, p, _, _ in app.got] == ["/custom/route", "/plain", "/sp%20ace/%C3%A9", "/d"]


async def test_delivery(context: SidecarContext, app: HttpApp, inputs: InputBindingSet) -> None:
    app.answers["POST /tick"] = (200, b"answer")
    tick = add(context, "tick", direction="input")
    await inputs.start()
    bad = {"bad name": "x", "Host": "evil", "": "y"}
    answer = await tick.emit(b"\x00data", readTimeUTC="now", timeZone="a\r\nb: c", **bad)
    assert answer == b"answer"
    method, path, headers, body = app.got[0]
    assert (method, path, body) == ("POST", "/tick", b"\x00data")
    assert headers["content-type"] == "application/json"
    assert (headers["readtimeutc"], headers["timezone"]) == ("now", "a  b: c")
    assert headers["traceparent"] == NO_TRACEPARENT
    assert "bad name" not in headers
    assert headers["host"] != "evil"


async def test_traces(context: SidecarContext, app: HttpApp, inputs: InputBindingSet) -> None:
    context.tracer = Tracer(1, SpanList())
    tick = add(context, "tick", direction="input")
    await inputs.start()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await tick.emit(traceparent=parent, tracestate="a=b")
    headers = app.got[0][2]
    assert headers["traceparent"].startswith(parent[:36])
    assert headers["traceparent"] != parent
    assert headers["tracestate"] == "a=b"


async def test_what_the_app_refuses_is_an_error(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet
) -> None:
    app.answers["POST /tick"] = (500, b"no")
    tick = add(context, "tick", direction="input")
    await inputs.start()
    text = "fails to send binding event to http app channel, status code: 500 body: no"
    with pytest.raises(CodedError) as caught:
        await tick.emit()
    assert str(caught.value) == text
    app.answers["POST /tick"] = (202, b"later")
    assert await tick.emit() == b"later"


class ThreeTimes:
    """A policy that tries three times."""

    retries = True

    async def run(self, operation: Operation[T]) -> T:
        for _ in range(2):
            try:
                return await operation()
            except CodedError:
                continue
        return await operation()


async def test_only_200_satisfies_a_policy(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    class Policies:
        def component_inbound(self, name: str, kind: str) -> Any:
            asked.append((name, kind))
            return ThreeTimes()

    context.policies = Policies()  # type: ignore[assignment]
    app.answers["POST /tick"] = (202, b"later")
    tick = add(context, "tick", direction="input")
    await inputs.start()
    assert await tick.emit() == b"later"
    assert len(app.got) == 3
    assert asked == [("tick", "Binding")]


async def test_stop_and_start_again(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet
) -> None:
    tick = add(context, "tick")
    await inputs.start()
    await inputs.start()
    await inputs.stop()
    await inputs.stop()
    await inputs.start()
    assert tick.log == ["start", "stop", "start"]


async def test_one_that_fails_is_tried_again_and_holds_nobody_up(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_module, "_FIRST_PAUSE", 0.001)
    broken, fine = add(context, "broken"), add(context, "fine")
    broken.failures = 3
    await inputs.start()
    assert fine.handler is not None
    async with asyncio.timeout(30):
        while broken.handler is None:
            await asyncio.sleep(0.001)
    assert set(inputs.started) == {"broken", "fine"}


async def test_stop_ends_the_tries(
    context: SidecarContext, inputs: InputBindingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        kind = "http"
        calls = 0

        async def request(self, *arguments: object, **named: object) -> object:
            self.calls += 1
            raise ConnectError("connection refused")

    down = Down()
    context.channel = down  # type: ignore[assignment]
    add(context, "tick")
    await inputs.start()
    await inputs.stop()
    calls = down.calls
    await asyncio.sleep(0.01)
    assert (down.calls, inputs.started) == (calls, [])


async def test_a_slow_app_does_not_hold_the_probe_for_ever(
    context: SidecarContext,
) -> None:
    class Slow:
        kind = "http"

        async def request(self, *arguments: object, **named: object) -> object:
            return await asyncio.Event().wait()

    context.channel = Slow()  # type: ignore[assignment]
    add(context, "tick")
    inputs = InputBindingSet(context, BindingsBlock(context), probe_timeout=0.01)
    await asyncio.wait_for(inputs.start(), 30)
    await inputs.stop()


async def test_components_that_change(
    context: SidecarContext, app: HttpApp, inputs: InputBindingSet
) -> None:
    old = add(context, "tick")
    await inputs.component_changed("tick")
    assert old.log == []
    await inputs.start()
    new = add(context, "tick")
    await inputs.component_changed("tick")
    assert (old.log, new.log) == (["start", "stop"], ["start"])
    del context.components.input_bindings["tick"]
    await inputs.component_changed("tick")
    assert (new.log, inputs.started) == (["start", "stop"], [])


# --- gRPC ---------------------------------------------------------------------------------------


class FakeOutput(OutputBinding):
    operations = ("create",)

    def __init__(self, name: str, order: list[str]) -> None:
        super().__init__(None, ComponentContext(name, "app1"))
        self.got: list[InvokeRequest] = []
        self.order = order
        self.gate: asyncio.Event | None = None
        self.fails = False

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.got.append(request)
        self.order.append(self._context.name)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise OSError("disk full")
        return None


class GrpcApp:
    def __init__(self) -> None:
        self.listed = ["tick"]
        self.lists = 0
        self.got: list[appcallback_pb2.BindingEventRequest] = []
        self.answer = appcallback_pb2.BindingEventResponse()

    async def on_list(
        self, request: empty_pb2.Empty, context: Context
    ) -> appcallback_pb2.ListInputBindingsResponse:
        self.lists += 1
        return appcallback_pb2.ListInputBindingsResponse(bindings=self.listed)

    async def on_event(
        self, request: appcallback_pb2.BindingEventRequest, context: Context
    ) -> appcallback_pb2.BindingEventResponse:
        self.got.append(request)
        return self.answer


@pytest.fixture
async def grpc_app(context: SidecarContext) -> AsyncIterator[GrpcApp]:
    found = GrpcApp()
    server = GrpcServer(max_receive_bytes=1 << 20)
    service = "/dapr.proto.runtime.v1.AppCallback/"
    messages = appcallback_pb2
    for name, asked, answered, handler in (
        (
            "ListInputBindings",
            empty_pb2.Empty,
            messages.ListInputBindingsResponse,
            found.on_list,
        ),
        (
            "OnBindingEvent",
            messages.BindingEventRequest,
            messages.BindingEventResponse,
            found.on_event,
        ),
    ):
        server.add(Method(service + name, "unary_unary", asked, answered, handler))
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = AppGrpcChannel(
        "127.0.0.1", port, tls=False, token="", max_concurrency=-1, max_message_bytes=1 << 20
    )
    context.channel = channel
    yield found
    await channel.close()
    await server.close(0)


async def test_grpc_apps_list_what_they_want_once(
    context: SidecarContext, grpc_app: GrpcApp, inputs: InputBindingSet
) -> None:
    for name in ("tick", "other"):
        add(context, name, route="/ignored")
    await inputs.start()
    await inputs.stop()
    await inputs.start()
    assert (inputs.started, grpc_app.lists) == (["tick"], 1)


async def test_grpc_apps_without_the_method(
    context: SidecarContext, inputs: InputBindingSet
) -> None:
    server = GrpcServer(max_receive_bytes=None)
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = AppGrpcChannel(
        "127.0.0.1", port, tls=False, token="", max_concurrency=-1, max_message_bytes=None
    )
    context.channel = channel
    add(context, "tick")
    await inputs.start()
    assert inputs.started == []
    await channel.close()
    await server.close(0)


async def test_grpc_delivery(
    context: SidecarContext, grpc_app: GrpcApp, inputs: InputBindingSet
) -> None:
    grpc_app.answer.data = b"back"
    tick = add(context, "tick")
    await inputs.start()
    assert await tick.emit(b"d", k="v") == b"back"
    request = grpc_app.got[0]
    assert (request.name, request.data, dict(request.metadata)) == ("tick", b"d", {"k": "v"})


@pytest.mark.parametrize(
    ("data", "sent"), [(b' {"b": 1,"a":"<"} ', b'{"a":"\\u003c","b":1}'), (b"text", b"null")]
)
async def test_answers_go_on_to_other_bindings(
    context: SidecarContext, grpc_app: GrpcApp, inputs: InputBindingSet, data: bytes, sent: bytes
) -> None:
    output = FakeOutput("files", [])
    context.components.output_bindings["files"] = loaded("files", output)
    grpc_app.answer = appcallback_pb2.BindingEventResponse(to=["files"], data=data)
    tick = add(context, "tick")
    await inputs.start()
    await tick.emit()
    assert output.got == [InvokeRequest("create", sent, {})]


async def test_sequential_stops_at_the_first_error_and_parallel_does_not(
    context: SidecarContext, grpc_app: GrpcApp, inputs: InputBindingSet
) -> None:
    order: list[str] = []
    outputs = {name: FakeOutput(name, order) for name in "abc"}
    outputs["b"].fails = True
    for name, output in outputs.items():
        context.components.output_bindings[name] = loaded(name, output)
    tick = add(context, "tick")
    await inputs.start()
    grpc_app.answer = appcallback_pb2.BindingEventResponse(to=["a", "b", "c"], data=b"1")
    await tick.emit()
    assert order == ["a", "b"]
    grpc_app.answer.concurrency = appcallback_pb2.BindingEventResponse.PARALLEL
    outputs["a"].gate = asyncio.Event()
    emitting = asyncio.ensure_future(tick.emit())
    async with asyncio.timeout(30):
        while len(order) < 5:
            await asyncio.sleep(0.001)
    outputs["a"].gate.set()
    await emitting
    assert sorted(order[2:]) == ["a", "b", "c"]
