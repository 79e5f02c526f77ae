"""Two applications that use each other as the tutorials' do, each beside a real daprd.

``shop`` speaks HTTP and hosts the actor type ``Cart``; ``stock`` speaks gRPC. Both hand the trace
context of a call on to what they call themselves, as an instrumented application would.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from harness.http_call import Answer, call
from harness.placement_process import Placement
from harness.programs import free_port
from harness.raw_app import RawApp, RawRequest
from harness.redis_server import redis_server
from harness.sidecar import Sidecar, component
from harness.sidecar_pair import names_in

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import binding_pb2, invoke_pb2, pubsub_pb2, state_pb2

API = "/dapr.proto.runtime.v1.Dapr/"
_ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
_CONFIG = b'{"entities":["Cart"],"actorIdleTimeout":"1s"}'
_SUBSCRIPTIONS = b'[{"pubsubname":"events","topic":"orders","route":"/orders"}]'
# Spans are sent soon, so that nobody waits for them.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def new_trace_id() -> str:
    """One that no other test uses."""
    return secrets.token_hex(16)


@dataclass
class Shop:
    """Both sidecars and what their applications saw."""

    shop: Sidecar
    stock: Sidecar
    app: RawApp
    channel: grpc.Channel
    """To the shop's sidecar."""

    traceparents: dict[str, str] = field(default_factory=dict)
    """By what the applications were asked for: the trace context that came with it."""

    def call(
        self, method: str, path: str, body: object = None, traceparent: str = "", **headers: str
    ) -> Answer:
        """A call of the shop's HTTP API."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if traceparent:
            given["traceparent"] = traceparent
        return call(self.shop.http_port, method, path, body, given)

    def call_grpc(self, method: str, request: bytes, *metadata: tuple[str, str]) -> Any:
        """A call of the shop's gRPC API: the answer, and the call."""
        unary = self.channel.unary_unary(method)
        return unary.with_call(request, metadata=metadata, timeout=30)

    def wait_traceparent(self, path: str) -> str:
        """What came with a request to the shop's application."""
        return self.app.wait(path)[0].values("traceparent")[0]


@contextmanager
def running_shop(folder: Path, tracing: Mapping[str, Any], **env: str) -> Iterator[Shop]:
    """Start it all; ``tracing`` is the Configuration's."""
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        placement = stack.enter_context(Placement())
        resources = [
            component("store", "state.redis", redisHost=redis.address, actorStateStore=True),
            component("events", "pubsub.redis", redisHost=redis.address),
            component("ledger", "bindings.redis", redisHost=redis.address),
        ]
        options: dict[str, Any] = {
            "resources": resources,
            "config": {**names_in(folder), "tracing": tracing},
            "flags": [f"--placement-host-address={placement.address}"],
            "env": {**SOON, **env},
        }
        app = stack.enter_context(RawApp())
        seen: dict[str, str] = {}
        service = _Stock(seen)
        port = stack.enter_context(_serving(service))
        app.answers["/dapr/subscribe"] = _json(_SUBSCRIPTIONS)
        app.answers["/dapr/config"] = _json(_CONFIG)
        stock = Sidecar("stock", app_port=port, app_protocol="grpc", **options)
        tick = component("tick", "bindings.cron", schedule="@every 1s", direction="input")
        shop = Sidecar("shop", app_port=app.port, **{**options, "resources": [*resources, tick]})
        service.sidecar = stock
        app.answers["/orders"] = _on_order(shop)
        stack.enter_context(stock)
        stack.enter_context(shop)
        service.channel = grpc.insecure_channel(stock.grpc_address)
        channel = grpc.insecure_channel(shop.grpc_address)
        stack.callback(channel.close)
        stack.callback(service.channel.close)
        yield Shop(shop, stock, app, channel, seen)


# --- the shop's application ---------------------------------------------------------------------


def _json(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _on_order(shop: Sidecar) -> Callable[[socket.socket, RawRequest], None]:
    """An event: it looks something up and says that it is done."""

    def answer(connection: socket.socket, request: RawRequest) -> None:
        headers = {"traceparent": request.values("traceparent")[0]}
        assert call(shop.http_port, "GET", "/v1.0/state/store/order", None, headers).status == 204
        connection.sendall(_json(b"{}"))

    return answer


# --- the stock's application --------------------------------------------------------------------


class _Stock(grpc.GenericRpcHandler):
    """Serves ``OnInvoke`` and a service of its own, ``/my.Service/*``."""

    def __init__(self, seen: dict[str, str]) -> None:
        self.channel: grpc.Channel
        self.sidecar: Sidecar
        self._seen = seen

    def service(self, details: Any) -> Any:
        if details.method == _ON_INVOKE:
            return grpc.unary_unary_rpc_method_handler(self._invoked)
        if details.method.startswith("/my.Service/"):
            return grpc.unary_unary_rpc_method_handler(self._own)
        return None

    def _own(self, request: bytes, context: Any) -> bytes:
        self._note("Own", context)
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
        return request

    def _invoked(self, raw: bytes, context: Any) -> bytes:
        request = common_pb2.InvokeRequest.FromString(raw)
        traceparent = self._note(request.method, context)
        if request.method == "order":
            self._take_order(traceparent)
        elif request.method == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return common_pb2.InvokeResponse().SerializeToString()

    def _note(self, what: str, context: Any) -> str:
        metadata = dict(context.invocation_metadata())
        traceparent = str(metadata.get("traceparent", ""))
        self._seen[what] = traceparent
        return traceparent

    def _take_order(self, traceparent: str) -> None:
        """Everything a service may do with one call."""
        item = common_pb2.StateItem(key="order", value=b"1")
        save = state_pb2.SaveStateRequest(store_name="store", states=[item])
        self._call("SaveState", save, traceparent)
        store = binding_pb2.InvokeBindingRequest(
            name="ledger", operation="create", data=b"1", metadata={"key": "k"}
        )
        self._call("InvokeBinding", store, traceparent)
        invoke = invoke_pb2.InvokeServiceRequest(
            id="shop", message=common_pb2.InvokeRequest(method="ship", http_extension={"verb": 3})
        )
        self._call("InvokeService", invoke, traceparent)
        publish = pubsub_pb2.PublishEventRequest(pubsub_name="events", topic="orders", data=b"1")
        self._call("PublishEvent", publish, traceparent)
        path = "/v1.0/actors/Cart/7/method/add"
        answer = call(self.sidecar.http_port, "POST", path, b"1", {"traceparent": traceparent})
        assert answer.status == 200, answer.body

    def _call(self, method: str, request: Any, traceparent: str) -> None:
        unary = self.channel.unary_unary(API + method)
        metadata = [("traceparent", traceparent)]
        unary(request.SerializeToString(), metadata=metadata, timeout=30)


@contextmanager
def _serving(service: _Stock) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[service])
    port = server.add_insecure_port(f"127.0.0.1:{free_port()}")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)
