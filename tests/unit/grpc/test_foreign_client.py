"""grpcio, asynchronous and blocking, as the client of our server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc import reflection
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.health import HealthService
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import dapr_pb2
from dapr_common.wire.grpc.health.v1 import health_pb2
from dapr_common.wire.grpc.reflection.v1 import reflection_pb2

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
async def channel(stage: Any) -> AsyncIterator[grpc.aio.Channel]:
    target = await stage.listen(max_receive_bytes=None)
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as made:
        yield made


async def test_unary_with_metadata(channel: grpc.aio.Channel, stage: Any) -> None:
    metadata = (("one", "1"), ("one", "2"), ("raw-bin", b"\x00\xff"))
    call = channel.unary_unary("/test.Echo/Unary")(b"hi", metadata=metadata, timeout=60)
    assert await call == b"hi"
    assert dict(await call.initial_metadata()) == {"first": "1", "first-bin": b"\x00\xff"}
    trailers = dict(await call.trailing_metadata())
    assert trailers == {"last": "2", "last-bin": b"\xff\x00"}
    context = stage.echo.contexts[0]
    seen = [pair for pair in context.metadata if pair[0] in {"one", "raw-bin"}]
    assert seen == [("one", "1"), ("one", "2"), ("raw-bin", b"\x00\xff")]
    assert 50 < context.remaining() < 62  # this client rounds up what it sends


async def test_server_stream(channel: grpc.aio.Channel) -> None:
    call = channel.unary_stream("/test.Echo/Expand")(b"5000")
    assert sum([len(message) async for message in call]) == 5_000_000
    assert await call.code() is grpc.StatusCode.OK


async def test_client_stream(channel: grpc.aio.Channel) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"z" * 20_000

    assert await channel.stream_unary("/test.Echo/Count")(requests()) == b"300 6000000"


async def test_both_streams_take_turns(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream("/test.Echo/Chat")()
    for number in range(10):
        await call.write(b"%d" % number)
        assert await call.read() == b"<%d>" % number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_large_messages_both_ways(channel: grpc.aio.Channel) -> None:
    large = bytes(range(256)) * 4 * 8192
    assert await channel.unary_unary("/test.Echo/Unary")(large) == large
    call = channel.stream_stream("/test.Echo/Chat")()
    await call.write(large)
    assert await call.read() == b"<" + large + b">"
    call.cancel()


async def test_errors_with_details(stage: Any) -> None:
    async def fail(request: bytes, context: Context) -> bytes:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            "nicht möglich: 5%",
            [error_details_pb2.ErrorInfo(reason="R")],
        )

    server = await stage.server()
    server.add(Method("/t.T/Fail", "unary_unary", None, None, fail))
    target = f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    async with grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/t.T/Fail")(b"")
    error = caught.value
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "nicht möglich: 5%"
    raw = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    assert status.message == "nicht möglich: 5%"
    assert status.details[0].type_url == "type.googleapis.com/google.rpc.ErrorInfo"


@pytest.mark.parametrize(
    ("method", "request_", "code", "text"),
    [
        ("/test.Echo/Nope", b"", "UNIMPLEMENTED", "unknown method Nope for service test.Echo"),
        ("/a.B/C", b"", "UNIMPLEMENTED", "unknown service a.B"),
        ("/test.Echo/Unary", b"bug", "UNKNOWN", "a bug"),
        ("/test.Echo/Unary", b"not found", "NOT_FOUND", "no such thing: ü %\n"),
    ],
)
async def test_statuses(
    channel: grpc.aio.Channel, method: str, request_: bytes, code: str, text: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(method)(request_)
    assert caught.value.code().name == code
    assert caught.value.details() == text


async def test_deadline_and_cancel_reach_the_handler(stage: Any) -> None:
    target = await stage.listen()
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.unary_unary("/test.Echo/Unary")(b"connect")
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # after time enough to get there
            await channel.unary_unary("/test.Echo/Unary")(b"hang", timeout=1.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await stage.echo.cancelled.wait()
        stage.echo.cancelled.clear()
        stage.echo.started.clear()  # or the cancellation overtakes the call
        call = channel.unary_unary("/test.Echo/Unary")(b"hang")
        await stage.echo.started.wait()
        call.cancel()
        await stage.echo.cancelled.wait()


@pytest.mark.parametrize("kind", ["Gzip", "Deflate"])
async def test_compressed_requests_and_answers(channel: grpc.aio.Channel, kind: str) -> None:
    compression = getattr(grpc.Compression, kind)
    body = b"compressible " * 10_000
    echo = channel.unary_unary("/test.Echo/Unary")
    assert await echo(body, compression=compression) == body
    assert await echo(b"zip") == b"0" * 100_000
    count = channel.stream_unary("/test.Echo/Count")
    assert await count(iter([body, body]), compression=compression) == b"2 260000"


async def test_too_large_is_resource_exhausted(stage: Any) -> None:
    target = await stage.listen(max_receive_bytes=1000)
    async with grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Echo/Unary")(b"x" * 5_000_000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "grpc: received message larger than max (5000000 vs. 1000)"


async def test_draining_serves_the_open_call_and_refuses_new_ones(stage: Any) -> None:
    server = await stage.server()
    target = f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    async with grpc.aio.insecure_channel(target) as channel:
        echo = channel.unary_unary("/test.Echo/Unary")
        open_call = asyncio.ensure_future(echo(b"hang"))
        await stage.echo.started.wait()
        closing = asyncio.create_task(server.close(10))
        # A call sent before the client has read GOAWAY is still served: wait until it has.
        await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await echo(b"new", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stage.echo.release.set()
        assert await open_call == b"hang"
        await closing
    assert not server.connections


async def test_health(stage: Any) -> None:
    health = HealthService()
    server = await stage.server()
    for method in health.methods():
        server.add(method)
    target = f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    response = health_pb2.HealthCheckResponse
    types = {
        "request_serializer": health_pb2.HealthCheckRequest.SerializeToString,
        "response_deserializer": response.FromString,
    }
    async with grpc.aio.insecure_channel(target) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", **types)
        assert (await check(health_pb2.HealthCheckRequest())).status == response.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(health_pb2.HealthCheckRequest(service="x"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", **types)
        seen = watch(health_pb2.HealthCheckRequest(service="x"))
        assert (await seen.read()).status == response.SERVICE_UNKNOWN
        health.set("x", serving=True)
        assert (await seen.read()).status == response.SERVING
        health.shut_down()
        assert (await seen.read()).status == response.NOT_SERVING
        seen.cancel()


async def test_reflection(stage: Any) -> None:
    server = await stage.server()
    for method in reflection.methods(lambda: server.services):
        server.add(method)
    target = f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    request = reflection_pb2.ServerReflectionRequest
    async with grpc.aio.insecure_channel(target) as channel:
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=request.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )()

            async def ask(call: Any = call, **what: Any) -> Any:
                await call.write(request(**what))
                return await call.read()

            listed = (await ask(list_services="*")).list_services_response.service
            assert [service.name for service in listed] == [
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "test.Echo",
            ]
            answer = await ask(file_containing_symbol="dapr.proto.runtime.v1.Dapr")
            files = answer.file_descriptor_response.file_descriptor_proto
            assert files[0] == dapr_pb2.DESCRIPTOR.serialized_pb
            assert len(files) == len(set(files)) > 10
            answer = await ask(file_by_filename="dapr/proto/runtime/v1/dapr.proto")
            assert len(answer.file_descriptor_response.file_descriptor_proto) == 1
            answer = await ask(file_containing_symbol="no.Such")
            assert answer.error_response.error_code == GrpcCode.NOT_FOUND
            answer = await ask(all_extension_numbers_of_type="google.protobuf.FileOptions")
            assert answer.all_extension_numbers_response.base_type_name.endswith("FileOptions")
            assert (await ask(host="h")).error_response.error_code == GrpcCode.INVALID_ARGUMENT
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK


async def test_the_blocking_client(stage: Any) -> None:
    target = await stage.listen()

    def use() -> tuple[bytes, int, bytes, list[bytes]]:
        with grpc.insecure_channel(target) as channel:

            def requests() -> Iterator[bytes]:
                yield from (b"a", b"b")

            return (
                channel.unary_unary("/test.Echo/Unary")(b"hi", timeout=30),
                len(list(channel.unary_stream("/test.Echo/Expand")(b"7"))),
                channel.stream_unary("/test.Echo/Count")(requests()),
                list(channel.stream_stream("/test.Echo/Chat")(requests())),
            )

    assert await asyncio.to_thread(use) == (b"hi", 7, b"2 2", [b"<a>", b"<b>"])
