"""What is measured: one entry per kind of call, the same for every contender."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from benchmarks.app import ECHO_METHOD, PUBSUB
from benchmarks.contenders import STORE, Station, post
from benchmarks.load import GrpcLoad, HttpLoad, Load, PublishLoad, Shape
from benchmarks.programs import BenchmarkError, Program, redis_call
from benchmarks.results import SECURED
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2, state_pb2

_KEYS = 100
_BODY = {"text": "x" * 1000}
_JSON = json.dumps(_BODY, separators=(",", ":")).encode()
_SERVICE = "/dapr.proto.runtime.v1.Dapr"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``open`` connects the load; ``pair`` tells whether the caller's CPU counts, too.

    ``proxied`` calls go to the gRPC app.
    """

    name: str
    text: str
    open: Callable[[Station, Shape], Awaitable[Load]]
    pair: bool = False
    grpc: bool = False
    proxied: bool = False

    def programs(self, station: Station) -> list[Program]:
        """The processes whose work is counted."""
        if self.proxied:
            assert station.proxied is not None
            return [station.proxied, station.caller]
        return [station.called, station.caller] if self.pair else [station.called]

    def includes(self, station: Station) -> bool:
        """Whether this contender takes part: mutual TLS matters between two sidecars only."""
        if self.proxied and station.proxied is None:
            return False
        return self.pair or station.name != SECURED

    def fits(self, shape: Shape) -> bool:
        """Whether calls can share a connection as the shape wants."""
        return self.grpc or shape.calls == 1


async def prepare(station: Station) -> None:
    """Write the keys that are read later."""
    for key in range(_KEYS):
        answer = await post(station.called_ports.http, f"/v1.0/state/{STORE}", _items(key))
        if not answer.startswith(b"HTTP/1.1 204"):
            raise BenchmarkError(f"{station.name} does not save state: {answer[:300]!r}")


async def clean(redis_port: int, station: Station) -> None:
    """Drop delivered events; the consumer group stays."""
    await redis_call(redis_port, "XTRIM", station.topic, "MAXLEN", "0")


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request as an SDK sends it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost:3500\r\nUser-Agent: benchmark\r\n"
    head += "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _items(key: int) -> bytes:
    return json.dumps([{"key": f"key-{key}", "value": _BODY}], separators=(",", ":")).encode()


async def _http(port: int, shape: Shape, requests: Sequence[bytes]) -> Load:
    load = HttpLoad(port, shape, requests)
    await load.connect()
    return load


async def _state_get(station: Station, shape: Shape) -> Load:
    paths = [f"/v1.0/state/{STORE}/key-{key}" for key in range(_KEYS)]
    return await _http(station.called_ports.http, shape, [request("GET", each) for each in paths])


async def _state_save(station: Station, shape: Shape) -> Load:
    path = f"/v1.0/state/{STORE}"
    requests = [request("POST", path, _items(key)) for key in range(_KEYS)]
    return await _http(station.called_ports.http, shape, requests)


async def _publish(station: Station, shape: Shape) -> Load:
    path = f"/v1.0/publish/{PUBSUB}/{station.topic}"
    slot_text = b'{"slot":"%04d-%012d","text":"' + b"x" * 970 + b'"}'
    head = request("POST", path, slot_text % (0, 0)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def make(slot: int, number: int) -> bytes:
        return head + slot_text % (slot, number)

    load = PublishLoad(station.called_ports.http, shape, make, station.app)
    await load.connect()
    return load


async def _invoke(station: Station, shape: Shape) -> Load:
    path = f"/v1.0/invoke/{station.app_id}/method/echo"
    return await _http(station.caller_ports.http, shape, [request("POST", path, _JSON)])


async def _grpc_get(station: Station, shape: Shape) -> Load:
    message = state_pb2.GetStateRequest(store_name=STORE, key="key-0").SerializeToString()
    return GrpcLoad(station.called_ports.grpc, shape, f"{_SERVICE}/GetState", message)


async def _grpc_invoke(station: Station, shape: Shape) -> Load:
    extension = common_pb2.HTTPExtension(verb=common_pb2.HTTPExtension.POST)
    inner = common_pb2.InvokeRequest(
        method="echo", content_type="application/json", http_extension=extension
    )
    inner.data.value = _JSON
    message = invoke_pb2.InvokeServiceRequest(id=station.app_id, message=inner)
    method = f"{_SERVICE}/InvokeService"
    return GrpcLoad(station.caller_ports.grpc, shape, method, message.SerializeToString())


async def _grpc_proxy(station: Station, shape: Shape) -> Load:
    target = [("dapr-app-id", station.proxied_id)]
    return GrpcLoad(station.caller_ports.grpc, shape, ECHO_METHOD, _JSON, target)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("state-get", "HTTP state get, Redis, 1 KiB", _state_get),
    Scenario("state-save", "HTTP state save, Redis, 1 KiB", _state_save),
    Scenario("publish", "HTTP publish to delivery at the app, Redis Streams, 1 KiB", _publish),
    Scenario("invoke", "HTTP echo of 1 KiB through two sidecars (both count)", _invoke, pair=True),
    Scenario("grpc-get", "gRPC GetState, Redis, 1 KiB", _grpc_get, grpc=True),
    Scenario(
        "grpc-invoke",
        "gRPC InvokeService of 1 KiB through two sidecars to an HTTP app (both count)",
        _grpc_invoke,
        pair=True,
        grpc=True,
    ),
    Scenario(
        "grpc-proxy",
        "a gRPC app's own method, 1 KiB, through two sidecars (both count)",
        _grpc_proxy,
        pair=True,
        grpc=True,
        proxied=True,
    ),
)
STARTUP = "startup"
