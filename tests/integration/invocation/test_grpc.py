"""gRPC through real sidecars with grpcio on both ends: proxied services, and InvokeService."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from harness.programs import free_port
from harness.raw_app import RawApp
from harness.sidecar import Manifest, Sidecar, resource
from harness.sidecar_pair import names_in

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2

WHERE = pytest.mark.parametrize("where", ["local", "remote"])
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
INVOKE_SERVICE = "/dapr.proto.runtime.v1.Dapr/InvokeService"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Service(grpc.GenericRpcHandler):
    """A user's service, ``/my.Service/*``, of raw bytes."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[str, str | bytes]]] = {}
        self.remaining: dict[str, float] = {}
        self.started = threading.Event()
        self.gone = threading.Event()
        self.tries = 0

    def service(self, details: Any) -> Any:
        service, _, name = details.method.rpartition("/")
        if details.method == ON_INVOKE:
            name = "on_invoke"
        elif service != "/my.Service" or not hasattr(self, name):
            return None
        self.seen[name] = [(pair.key, pair.value) for pair in details.invocation_metadata]
        handler = getattr(self, name)
        kind = {"Sum": "stream_unary", "Count": "unary_stream", "Chat": "stream_stream"}
        make = getattr(grpc, f"{kind.get(name, 'unary_unary')}_rpc_method_handler")
        return make(handler)

    def Say(self, request: bytes, context: Any) -> bytes:
        self.remaining["Say"] = context.time_remaining()
        context.send_initial_metadata([("x-head", "h"), ("x-head-bin", b"\x00\xff")])
        context.set_trailing_metadata([("x-tail", "t"), ("x-tail", "t2"), ("x-tail-bin", b"\x01")])
        return request.upper()

    def Big(self, request: bytes, context: Any) -> bytes:
        return b"y" * int(request)

    def Packed(self, request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return request * 2

    def Fail(self, request: bytes, context: Any) -> bytes:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason="R", domain="d", metadata={"k": "v"}))
        status = status_pb2.Status(code=9, message="nicht möglich", details=[detail])
        context.set_trailing_metadata(
            [("grpc-status-details-bin", status.SerializeToString()), ("x-tail", "t")]
        )
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nicht möglich")
        raise AssertionError

    def Flaky(self, request: bytes, context: Any) -> bytes:
        self.tries += 1
        if self.tries < 3:
            context.abort(grpc.StatusCode.ABORTED, "again")
        return request

    def Hang(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.gone.set)
        self.started.set()
        self.gone.wait(20)
        return b""

    def Slow(self, request: bytes, context: Any) -> bytes:
        threading.Event().wait(4)
        return b""

    def Sum(self, requests: Any, context: Any) -> bytes:
        return str(sum(int(request) for request in requests)).encode()

    def Count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()
        if request == b"3":
            context.abort(grpc.StatusCode.DATA_LOSS, "after three")

    def Chat(self, requests: Any, context: Any) -> Iterator[bytes]:
        context.add_callback(self.gone.set)
        for request in requests:
            yield request.upper()

    def on_invoke(self, raw: bytes, context: Any) -> bytes:
        request = common_pb2.InvokeRequest.FromString(raw)
        if request.method == "fail":
            self.Fail(raw, context)
        context.send_initial_metadata([("x-head", "h"), ("x-head-bin", b"\x00\xff")])
        context.set_trailing_metadata([("x-tail", "t"), ("x-tail-bin", b"\x01")])
        answer = common_pb2.InvokeResponse(content_type="text/y", data=request.data)
        return answer.SerializeToString()


@contextmanager
def serving(service: Service) -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[service], options=OPTIONS)
    port = server.add_insecure_port(f"127.0.0.1:{free_port()}")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)


@dataclass
class Stage:
    service: Service
    front: Sidecar
    back: Sidecar
    channel: grpc.Channel

    def metadata(self, where: str, *more: tuple[str, str | bytes]) -> list[tuple[str, str | bytes]]:
        target = self.front if where == "local" else self.back
        return [("dapr-app-id", target.app_id), *more]

    def unary(self, name: str, request: bytes, metadata: Any, **options: Any) -> Any:
        call = self.channel.unary_unary(name if "/" in name else f"/my.Service/{name}")
        return call.with_call(request, metadata=metadata, timeout=options.pop("timeout", 20))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    config = names_in(tmp_path_factory.mktemp("names"))
    service = Service()
    with ExitStack() as stack:
        port = stack.enter_context(serving(service))
        back = stack.enter_context(Sidecar(app_port=port, app_protocol="grpc", config=config))
        front = stack.enter_context(
            Sidecar(app_port=port, app_protocol="grpc", config=config, resources=policies(back))
        )
        channel = grpc.insecure_channel(front.grpc_address, options=OPTIONS)
        stack.callback(channel.close)
        yield Stage(service, front, back, channel)


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.service.seen.clear()
    running.service.started.clear()
    running.service.gone.clear()
    running.service.tries = 0
    return running


def policies(back: Sidecar) -> list[Manifest]:
    """Policies for the other app under its name with the namespace, which is a target apart."""
    spec = {
        "policies": {
            "retries": {"r": {"policy": "constant", "duration": "10ms", "maxRetries": 2}},
            "timeouts": {"t": "1500ms"},
        },
        "targets": {
            "apps": {
                f"{back.app_id}.default": {"retry": "r", "timeout": "t"},
            }
        },
    }
    return [resource("Resiliency", "policies", spec)]


# --- proxying -----------------------------------------------------------------------------------


@WHERE
def test_unary_calls(stage: Stage, where: str) -> None:
    metadata = stage.metadata(
        where,
        ("x-one", "1"),
        ("x-one", "2"),
        ("x-raw-bin", b"\x00\x01\xff"),
        ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("dapr-api-token", "mine"),
    )
    answer, call = stage.unary("Say", b"hello", metadata, timeout=30)
    assert answer == b"HELLO"
    assert dict(call.initial_metadata()) == {"x-head": "h", "x-head-bin": b"\x00\xff"}
    assert [tuple(pair) for pair in call.trailing_metadata()] == [
        ("x-tail", "t"),
        ("x-tail", "t2"),
        ("x-tail-bin", b"\x01"),
    ]
    seen = stage.service.seen["Say"]
    assert [value for name, value in seen if name == "x-one"] == ["1", "2"]
    found = dict(seen)
    assert found["x-raw-bin"] == b"\x00\x01\xff"
    assert str(found["traceparent"]).startswith(f"00-{TRACE}-")
    assert found["tracestate"] == "a=b"
    assert "dapr-app-id" not in found
    assert "dapr-api-token" not in found
    assert found.get("dapr-callee-app-id") == (stage.back.app_id if where == "remote" else None)
    assert found.get("dapr-caller-app-id") == (stage.front.app_id if where == "remote" else None)
    # The client's deadline is the app's.
    assert 25 < stage.service.remaining["Say"] < 31  # grpcio rounds up


@WHERE
def test_errors_keep_message_details_and_trailers(stage: Stage, where: str) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        stage.unary("Fail", b"", stage.metadata(where))
    error: Any = failure.value
    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "nicht möglich",
    )
    trailers = dict(error.trailing_metadata())
    assert trailers["x-tail"] == "t"
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("R", {"k": "v"})
    with pytest.raises(grpc.RpcError) as failure:
        stage.unary("Nothing", b"", stage.metadata(where))
    assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


@WHERE
def test_streams(stage: Stage, where: str) -> None:
    metadata = stage.metadata(where)
    total = stage.channel.stream_unary("/my.Service/Sum")
    assert total((b"%d" % n for n in range(100)), metadata=metadata, timeout=20) == b"4950"
    count = stage.channel.unary_stream("/my.Service/Count")
    numbers = list(count(b"1000", metadata=metadata, timeout=20))
    assert numbers == [b"%d" % n for n in range(1000)]
    counting = count(b"3", metadata=metadata, timeout=20)
    received = [next(counting) for _ in range(3)]
    with pytest.raises(grpc.RpcError) as failure:
        next(counting)
    assert failure.value.code() == grpc.StatusCode.DATA_LOSS  # type: ignore[attr-defined]
    assert received == [b"0", b"1", b"2"]
    # Each message is answered before the next one is sent.
    answers: list[bytes] = []
    more = threading.Semaphore(1)

    def words() -> Iterator[bytes]:
        for word in (b"one", b"two", b"three"):
            assert more.acquire(timeout=10)
            yield word

    for answer in stage.channel.stream_stream("/my.Service/Chat")(
        words(), metadata=metadata, timeout=20
    ):
        answers.append(answer)
        more.release()
    assert answers == [b"ONE", b"TWO", b"THREE"]


@WHERE
@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_the_app_learns_that_the_client_is_gone(stage: Stage, where: str, how: str) -> None:
    call = stage.channel.unary_unary("/my.Service/Hang").future(
        b"", metadata=stage.metadata(where), timeout=2.0 if how == "deadline" else 20
    )
    if how == "cancel":
        assert stage.service.started.wait(20)
        call.cancel()
    assert stage.service.gone.wait(20)
    wanted = grpc.StatusCode.DEADLINE_EXCEEDED if how == "deadline" else grpc.StatusCode.CANCELLED
    assert call.code() == wanted


@WHERE
def test_compressed_messages(stage: Stage, where: str) -> None:
    answer = stage.channel.unary_unary("/my.Service/Packed")(
        b"a" * 10_000,
        metadata=stage.metadata(where),
        timeout=20,
        compression=grpc.Compression.Gzip,
    )
    assert answer == b"a" * 20_000


@WHERE
def test_messages_up_to_the_limit(stage: Stage, where: str) -> None:
    limit = 4 << 20
    metadata = stage.metadata(where)
    assert len(stage.unary("Big", b"%d" % limit, metadata)[0]) == limit
    assert stage.unary("Say", b"x" * limit, metadata)[0] == b"X" * limit
    for name, request in (("Big", b"%d" % (limit + 1)), ("Say", b"x" * (limit + 1))):
        with pytest.raises(grpc.RpcError) as failure:
            stage.unary(name, request, metadata)
        assert failure.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert f"({limit + 1} vs. {limit})" in failure.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("dapr-app-id", "a.b.c", "invalid app id a.b.c"),
        ("dapr-app-id", ".b", "app id is empty"),
        ("x", "y", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"),
    ],
)
def test_targets_that_are_none(stage: Stage, name: str, value: str, text: str) -> None:
    with pytest.raises(grpc.RpcError) as failure:
        stage.unary("Say", b"", [(name, value)])
    error: Any = failure.value
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, text)


def test_other_ways_to_name_the_target(stage: Stage) -> None:
    for metadata in (
        [("dapr-app-id", f"{stage.back.app_id}.default")],
        [("dapr-app-id", f"{stage.front.app_id}.default")],
        [("dapr-callee-app-id", stage.back.app_id)],
        [("dapr-callee-app-id", stage.back.app_id), ("dapr-app-id", "ghost")],
    ):
        assert stage.unary("Say", b"x", metadata)[0] == b"X"


def test_policies_of_unary_calls(stage: Stage) -> None:
    metadata = [("dapr-app-id", f"{stage.back.app_id}.default")]
    assert stage.unary("Flaky", b"x", metadata)[0] == b"x"
    assert stage.service.tries == 3
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as failure:
        stage.unary("Slow", b"", metadata)
    assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
    assert 4.4 < time.monotonic() - started < 15


def test_policies_of_streams(stage: Stage) -> None:
    """The first message is answered at once; a second one is refused, unless told what it is."""
    metadata = [("dapr-app-id", f"{stage.back.app_id}.default")]
    for told in (False, True):
        first = threading.Event()

        def words(first: threading.Event = first) -> Iterator[bytes]:
            yield b"one"
            assert first.wait(10)
            yield b"two"

        extra = [("dapr-stream", "yes")] if told else []
        answers = stage.channel.stream_stream("/my.Service/Chat")(
            words(), metadata=[*metadata, *extra], timeout=20
        )
        assert next(answers) == b"ONE"
        first.set()
        if told:
            assert list(answers) == [b"TWO"]
            continue
        with pytest.raises(grpc.RpcError) as failure:
            next(answers)
        error: Any = failure.value
        assert (error.code(), error.details()) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "cannot use resiliency policies with retries on streaming RPCs",
        )


# --- InvokeService ------------------------------------------------------------------------------


def invoke(
    channel: grpc.Channel, target: str, method: str, verb: str = "POST", **more: Any
) -> tuple[common_pb2.InvokeResponse, Any]:
    request = invoke_pb2.InvokeServiceRequest(id=target)
    request.message.method = method
    request.message.content_type = "text/x"
    request.message.data.value = b"data"
    request.message.data.type_url = "some/type"
    if verb:
        request.message.http_extension.verb = common_pb2.HTTPExtension.Verb.Value(verb)
    call = channel.unary_unary(
        INVOKE_SERVICE,
        request_serializer=invoke_pb2.InvokeServiceRequest.SerializeToString,
        response_deserializer=common_pb2.InvokeResponse.FromString,
    )
    return call.with_call(request, timeout=20, **more)


@WHERE
def test_invoke_service_of_a_grpc_app(stage: Stage, where: str) -> None:
    target = stage.metadata(where)[0][1]
    answer, call = invoke(
        stage.channel,
        str(target),
        "m",
        verb="",
        metadata=[("x-one", "1"), ("x-raw-bin", b"\x00\xff"), ("accept", "a/b")],
    )
    assert (answer.content_type, answer.data.value) == ("text/y", b"data")
    assert answer.data.type_url == "some/type"
    seen = dict(stage.service.seen["on_invoke"])
    assert (seen["x-one"], seen["x-raw-bin"], seen["accept"]) == ("1", b"\x00\xff", "a/b")
    head = dict(call.initial_metadata())
    assert (head["x-head"], head["x-head-bin"]) == ("h", b"\x00\xff")
    assert "dapr-http-status" not in head
    tail = dict(call.trailing_metadata())
    assert (tail["x-tail"], tail["x-tail-bin"]) == ("t", b"\x01")
    with pytest.raises(grpc.RpcError) as failure:
        invoke(stage.channel, str(target), "fail")
    error: Any = failure.value
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "nicht möglich"
    tail = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(tail["grpc-status-details-bin"])
    assert [detail.type_url for detail in status.details] == [
        "type.googleapis.com/google.rpc.ErrorInfo"
    ]
    assert tail["x-tail"] == "t"


CODES = grpc.StatusCode


@pytest.mark.parametrize(
    ("status", "code", "phrase"),
    [
        (400, CODES.INTERNAL, "Bad Request"),
        (401, CODES.UNAUTHENTICATED, "Unauthorized"),
        (403, CODES.PERMISSION_DENIED, "Forbidden"),
        (404, CODES.NOT_FOUND, "Not Found"),
        (408, CODES.CANCELLED, "Request Timeout"),
        (409, CODES.ALREADY_EXISTS, "Conflict"),
        (418, CODES.UNKNOWN, "I'm a teapot"),
        (429, CODES.RESOURCE_EXHAUSTED, "Too Many Requests"),
        (500, CODES.UNKNOWN, "Internal Server Error"),
        (501, CODES.UNIMPLEMENTED, "Not Implemented"),
        (503, CODES.UNAVAILABLE, "Service Unavailable"),
        (504, CODES.DEADLINE_EXCEEDED, "Gateway Timeout"),
        (302, CODES.UNKNOWN, "Found"),
        (599, CODES.UNKNOWN, ""),
    ],
)
@WHERE
def test_statuses_of_http_apps(
    http_stage: HttpStage, where: str, status: int, code: grpc.StatusCode, phrase: str
) -> None:
    text = "ä" * 40  # 63 bytes end inside a character
    http_stage.app.answers["/m"] = (
        f"HTTP/1.1 {status} X\r\nX-A: b\r\nContent-Length: {len(text.encode())}\r\n\r\n{text}"
    ).encode()
    with pytest.raises(grpc.RpcError) as failure:
        invoke(http_stage.channel, http_stage.target(where), "m")
    error: Any = failure.value
    assert (error.code(), error.details()) == (code, phrase)
    head = dict(error.initial_metadata())
    assert (head["dapr-http-status"], head["x-a"]) == (str(status), "b")
    tail = dict(error.trailing_metadata())
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(tail["grpc-status-details-bin"]).details[0].Unpack(info)
    assert (info.reason, info.domain) == (phrase, "dapr.io")
    assert dict(info.metadata) == {"http.code": str(status), "http.error_message": "ä" * 31}


@dataclass
class HttpStage:
    app: RawApp
    front: Sidecar
    back: Sidecar
    channel: grpc.Channel

    def target(self, where: str) -> str:
        return self.front.app_id if where == "local" else self.back.app_id


@pytest.fixture(scope="module")
def http_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpStage]:
    config = names_in(tmp_path_factory.mktemp("names"))
    with ExitStack() as stack:
        app = stack.enter_context(RawApp())
        back = stack.enter_context(Sidecar(app_port=app.port, config=config))
        front = stack.enter_context(Sidecar(app_port=app.port, config=config))
        channel = grpc.insecure_channel(front.grpc_address)
        stack.callback(channel.close)
        yield HttpStage(app, front, back, channel)


@WHERE
def test_invoke_service_of_an_http_app(http_stage: HttpStage, where: str) -> None:
    http_stage.app.answers["/m"] = (
        b"HTTP/1.1 201 Created\r\nContent-Type: text/y\r\nCache-Control: no-store\r\nX-A: b\r\n"
        b"X-A: c\r\nX-Raw-Bin: AP8=\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n"
    )
    metadata = [("x-one", "1"), ("x-one", "2"), ("x-raw-bin", b"\x00"), ("accept", "a/b")]
    target = http_stage.target(where)
    answer, call = invoke(http_stage.channel, target, "m", "PATCH", metadata=metadata)
    assert (answer.content_type, answer.data.value) == ("text/y", b"ok")
    head = [tuple(pair) for pair in call.initial_metadata()]
    assert ("dapr-http-status", "201") in head
    assert ("dapr-cache-control", "no-store") in head
    assert [value for name, value in head if name == "x-a"] == ["b", "c"]
    assert ("x-raw-bin", b"\x00\xff") in head
    assert "dapr-transfer-encoding" not in dict(head)
    seen = http_stage.app.last()
    assert (seen.method, seen.target, seen.body) == ("PATCH", "/m", b"data")
    assert seen.values("content-type") == ["text/x"]
    assert seen.values("x-one") == ["1", "2"]
    assert seen.values("accept") == ["a/b"]
    assert seen.values("dapr-authority") == [http_stage.front.grpc_address]
    assert "x-raw-bin" not in seen.names
    assert "te" not in seen.names


@WHERE
def test_calls_no_http_app_can_get(http_stage: HttpStage, where: str) -> None:
    target = http_stage.target(where)
    for verb, text in (
        ("", "missing HTTP extension field"),
        ("NONE", "invalid HTTP verb"),
        ("CONNECT", "invalid HTTP verb"),
    ):
        with pytest.raises(grpc.RpcError) as failure:
            invoke(http_stage.channel, target, "m", verb)
        error: Any = failure.value
        assert error.code() == CODES.INTERNAL
        assert error.details().startswith(f"failed to invoke, id: {target}, err: ")
        assert error.details().endswith(text)
    with pytest.raises(grpc.RpcError) as failure:
        invoke(http_stage.channel, target, "a?b", "GET")
    assert "invalid method: method contains forbidden character" in str(failure.value)


def test_an_http_app_is_no_target_of_a_proxied_call(http_stage: HttpStage, tmp_path: Path) -> None:
    for where in ("local", "remote"):
        with pytest.raises(grpc.RpcError) as failure:
            http_stage.channel.unary_unary("/my.Service/Say")(
                b"", metadata=[("dapr-app-id", http_stage.target(where))], timeout=20
            )
        error: Any = failure.value
        assert (error.code(), error.details()) == (
            CODES.INTERNAL,
            "app channel is not initialized",
        )
