"""Our client with grpcio's server; and our server between, as a raw proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.grpc.wire import frame

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Service:
    """What grpcio serves."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()
        self.metadata: list[tuple[str, str | bytes]] = []

    async def unary(self, request: bytes, context: Any) -> bytes:
        self.metadata = list(context.invocation_metadata())
        if request == b"hang":
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request == b"fail":
            info = error_details_pb2.ErrorInfo(reason="R")
            status = status_pb2.Status(code=9, message="not nöw")
            status.details.add().Pack(info)
            context.set_trailing_metadata(
                (("grpc-status-details-bin", status.SerializeToString()), ("extra", "1"))
            )
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not nöw")
        if request == b"space":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ")
        if request == b"zip":
            context.set_compression(grpc.Compression.Gzip)
            return b"0" * 100_000
        await context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00\xff")))
        context.set_trailing_metadata((("last", "2"), ("last-bin", b"\xff\x00")))
        return request

    async def expand(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield b"x" * 1000

    async def count(self, requests: Any, context: Any) -> bytes:
        sizes = [len(message) async for message in requests]
        return b"%d %d" % (len(sizes), sum(sizes))

    async def chat(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for message in requests:
            yield b"<" + message + b">"


async def forward(stage: Any, upstream: GrpcChannel) -> GrpcChannel:
    """A channel to a server that passes unknown methods on as they are."""

    async def proxy(requests: AsyncIterator[bytes], context: Context) -> None:
        call = await upstream.open(context.method, context.metadata, context.remaining())

        async def pump() -> None:
            async for message in requests:
                await call.send(message)
            await call.half_close()

        pumping = asyncio.create_task(pump())
        try:
            context.set_initial_metadata(await call.initial_metadata())
            context.send_initial_metadata()
            async for message in call:
                await context.send(message)
            context.set_trailers(call.trailers)
        finally:
            call.cancel()
            pumping.cancel()

    server = await stage.server(max_receive_bytes=None)
    server.fallback = Method("*", "stream_stream", None, None, proxy)
    target = f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"
    channel: GrpcChannel = stage.channel(target, max_receive_bytes=None)
    return channel


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture(params=["straight", "through a proxy"])
async def channel(
    request: pytest.FixtureRequest, stage: Any, service: Service
) -> AsyncIterator[GrpcChannel]:
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(service.unary),
        "Expand": grpc.unary_stream_rpc_method_handler(service.expand),
        "Count": grpc.stream_unary_rpc_method_handler(service.count),
        "Chat": grpc.stream_stream_rpc_method_handler(service.chat),
    }
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("far.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    straight = stage.channel(f"127.0.0.1:{port}", max_receive_bytes=None)
    yield straight if request.param == "straight" else await forward(stage, straight)
    await straight.close()
    await server.stop(None)


async def test_unary_with_metadata(channel: GrpcChannel, service: Service) -> None:
    metadata = [("one", "1"), ("one", "2"), ("raw-bin", b"\x00\xff")]
    result = await channel.unary("/far.Echo/Unary", b"hi", metadata=metadata, timeout=30)
    assert result.message == b"hi"
    own = {"first", "first-bin", "last", "last-bin"}
    assert [p for p in result.initial_metadata if p[0] in own] == [
        ("first", "1"),
        ("first-bin", b"\x00\xff"),
    ]
    assert [p for p in result.trailers if p[0] in own] == [("last", "2"), ("last-bin", b"\xff\x00")]
    seen = [tuple(pair) for pair in service.metadata if pair[0] in {"one", "raw-bin"}]
    assert seen == metadata


async def test_streams(channel: GrpcChannel) -> None:
    call = await channel.open("/far.Echo/Expand", frames=frame(b"3000"))
    assert sum([len(message) async for message in call]) == 3_000_000
    call = await channel.open("/far.Echo/Count")
    for _ in range(300):
        await call.send(b"z" * 20_000)
    await call.half_close()
    assert await call.take() == [b"300 6000000"]
    async with await channel.open("/far.Echo/Chat") as chat:
        for number in range(10):
            await chat.send(b"%d" % number)
            assert await chat.next_message() == b"<%d>" % number
        await chat.half_close()
        assert await chat.next_message() is None


async def test_large_messages_both_ways(channel: GrpcChannel) -> None:
    large = bytes(range(256)) * 4 * 8192
    result = await channel.unary("/far.Echo/Unary", large)
    assert result.message == large


async def test_errors_with_details(channel: GrpcChannel) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary("/far.Echo/Unary", b"fail")
    error = caught.value
    assert (error.code, error.message) == (GrpcCode.FAILED_PRECONDITION, "not nöw")
    assert error.status().details[0].type_url.endswith("google.rpc.ErrorInfo")
    assert (b"extra", b"1") in error.trailers
    with pytest.raises(RpcError) as caught:
        await channel.unary("/far.Echo/Nope", b"")
    assert caught.value.code is GrpcCode.UNIMPLEMENTED


async def test_a_status_that_cannot_be_read_says_why(channel: GrpcChannel) -> None:
    with pytest.raises(RpcError, match="space"):
        await channel.unary("/far.Echo/Unary", b"space", timeout=30)
    assert (await channel.unary("/far.Echo/Unary", b"hi", timeout=30)).message == b"hi"


async def test_compressed_answer(channel: GrpcChannel) -> None:
    assert (await channel.unary("/far.Echo/Unary", b"zip")).message == b"0" * 100_000


async def test_deadline_and_cancel_reach_the_handler(
    channel: GrpcChannel, service: Service
) -> None:
    with pytest.raises(RpcError) as caught:
        await channel.unary("/far.Echo/Unary", b"hang", timeout=1.0)  # time enough to get there
    assert caught.value.code is GrpcCode.DEADLINE_EXCEEDED
    await service.cancelled.wait()
    service.cancelled.clear()
    service.started.clear()
    task = asyncio.create_task(channel.unary("/far.Echo/Unary", b"hang"))
    await service.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await service.cancelled.wait()


async def test_many_calls_at_once(channel: GrpcChannel) -> None:
    calls = [channel.unary("/far.Echo/Unary", b"%d" % number) for number in range(300)]
    results = await asyncio.gather(*calls)
    assert [result.message for result in results] == [b"%d" % number for number in range(300)]
    assert channel.active == 0
