"""Our client and our server with each other, over both sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from google.rpc import error_details_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.grpc.wire import frame
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2


async def test_unary_carries_metadata_both_ways(stage: Any) -> None:
    channel = await stage.pair()
    metadata = [("one", "1"), ("one", "uno"), ("raw-bin", b"\x00\xfe"), ("Upper", " v\r\nw ")]
    result = await channel.unary("/test.Echo/Unary", b"hi", metadata=metadata, timeout=5)
    assert result.message == b"hi"
    assert result.initial_metadata == [("first", "1"), ("first-bin", b"\x00\xff")]
    assert result.trailers == [("last", "2"), ("last-bin", b"\xff\x00")]
    context = stage.echo.contexts[0]
    seen = [pair for pair in context.metadata if pair[0] in {"one", "raw-bin", "upper"}]
    assert seen == [("one", "1"), ("one", "uno"), ("raw-bin", b"\x00\xfe"), ("upper", "v  w")]
    names = {name for name, _ in context.metadata}
    assert "grpc-timeout" not in names
    assert "te" not in names
    assert context.get("one") == "1"
    assert context.get("raw-bin") == b"\x00\xfe"
    assert context.get("absent") is None
    assert context.peer.startswith("127.0.0.1:")
    assert context.method == "/test.Echo/Unary"
    remaining = context.remaining()
    assert remaining is not None
    assert 0 < remaining <= 5
    context.hide(b"one")
    assert context.get("one") is None


@pytest.mark.parametrize("name", ["te", "grpc-status", "content-type", ":path", "bad name", "é"])
async def test_names_that_are_not_metadata_are_left_out(stage: Any, name: str) -> None:
    channel = await stage.pair()
    await channel.unary("/test.Echo/Unary", b"", metadata=[(name, "x"), ("ok", "y")])
    assert stage.echo.contexts[0].get("ok") == "y"
    assert "x" not in [value for _, value in stage.echo.contexts[0].metadata]


async def test_server_stream(pair: GrpcChannel) -> None:
    call = await pair.open("/test.Echo/Expand", frames=frame(b"3000"))
    sizes = [len(message) async for message in call]
    assert sizes == [1000] * 3000
    assert call.status is GrpcCode.OK
    assert call.ended
    assert pair.active == 0


async def test_client_stream(pair: GrpcChannel) -> None:
    call = await pair.open("/test.Echo/Count")
    for _ in range(500):
        await call.send(b"y" * 10_000)
    await call.half_close()
    assert await call.take() == [b"500 5000000"]
    assert await call.take() == []


async def test_both_streams_take_turns(pair: GrpcChannel) -> None:
    async with await pair.open("/test.Echo/Chat", [("k", "v")]) as call:
        for number in range(20):
            await call.send(b"%d" % number)
            assert await call.next_message() == b"<%d>" % number
        await call.half_close()
        assert await call.next_message() is None
    with pytest.raises(RpcError, match="the call has ended"):
        await call.send(b"late")


async def test_coroutine_handler_sends_and_headers_come_first(pair: GrpcChannel) -> None:
    async with await pair.open("/test.Echo/Talk") as call:
        assert await call.initial_metadata() == []
        assert not call.trailers_only
        await call.send(b"a")
        await call.half_close()
        assert [message async for message in call] == [b"a", b"a"]


async def test_several_tasks_may_send_on_one_call(stage: Any) -> None:
    async def fan(requests: Any, context: Context) -> None:
        async def part(number: int) -> None:
            for _ in range(20):
                await context.send(bytes([number]) * 50_000)

        await asyncio.gather(*[part(number) for number in range(5)])

    server = await stage.server()
    server.add(Method("/test.Echo/Fan", "stream_stream", None, None, fan))
    channel = stage.channel(f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}")
    call = await channel.open("/test.Echo/Fan", frames=b"")
    assert sum([len(message) async for message in call]) == 5 * 20 * 50_000


async def test_typed_messages_are_parsed_and_serialised(stage: Any) -> None:
    async def get(request: Any, context: Context) -> Any:
        assert isinstance(request, state_pb2.GetStateRequest)
        return state_pb2.GetStateResponse(data=request.key.encode())

    types = (state_pb2.GetStateRequest, state_pb2.GetStateResponse)
    server = await stage.server()
    server.add(Method("/t.T/Get", "unary_unary", *types, get))
    channel = stage.channel(f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}")
    request = state_pb2.GetStateRequest(key="k")
    result = await channel.unary("/t.T/Get", request, state_pb2.GetStateResponse)
    assert result.message.data == b"k"
    with pytest.raises(RpcError, match="error unmarshalling request") as caught:
        await channel.unary("/t.T/Get", b"\xff\xff")
    assert caught.value.code is GrpcCode.INTERNAL
    with pytest.raises(RpcError, match="failed to unmarshal the received message"):
        await channel.unary("/test.Echo/Unary", b"\xff\xff", state_pb2.GetStateResponse)


async def test_errors_keep_code_text_and_details(stage: Any) -> None:
    detail = error_details_pb2.ErrorInfo(reason="R", domain="dapr.io", metadata={"a": "b"})

    async def fail(request: bytes, context: Context) -> bytes:
        context.set_trailers([("extra", "1")])
        raise RpcError(GrpcCode.FAILED_PRECONDITION, "100% ünsafe\nnews", [detail])

    server = await stage.server()
    server.add(Method("/t.T/Fail", "unary_unary", None, None, fail))
    channel = stage.channel(f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}")
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Fail", b"")
    error = caught.value
    assert (error.code, error.message) == (GrpcCode.FAILED_PRECONDITION, "100% ünsafe\nnews")
    status = error.status()
    assert (status.code, status.message) == (9, "100% ünsafe\nnews")
    unpacked = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(unpacked)
    assert unpacked == detail
    assert error.trailers == [(b"extra", b"1")]


@pytest.mark.parametrize("text", ["it failed: ", "  both ends ", " ", ""])
async def test_spaces_around_an_error_s_text_do_not_cost_the_answer(stage: Any, text: str) -> None:
    async def fail(request: bytes, context: Context) -> bytes:
        raise RpcError(GrpcCode.INTERNAL, text)

    server = await stage.server()
    server.add(Method("/t.T/Fail", "unary_unary", None, None, fail))
    channel = stage.channel(f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}")
    with pytest.raises(RpcError) as caught:
        await channel.unary("/t.T/Fail", b"")
    assert (caught.value.code, caught.value.message) == (GrpcCode.INTERNAL, text)


async def test_status_after_messages_is_raised_after_them(pair: GrpcChannel) -> None:
    call = await pair.open("/test.Echo/Chat")
    await call.send(b"a")
    await call.send(b"fail")
    assert await anext(call) == b"<a>"
    with pytest.raises(RpcError, match="as asked") as caught:
        await anext(call)
    assert caught.value.code is GrpcCode.ABORTED
    assert call.status is GrpcCode.ABORTED
    assert pair.active == 0


async def test_a_bug_is_unknown_and_logged(
    pair: GrpcChannel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(RpcError, match="a bug") as caught:
        await pair.unary("/test.Echo/Unary", b"bug")
    assert caught.value.code is GrpcCode.UNKNOWN
    assert any("/test.Echo/Unary failed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Echo/None", "unknown method None for service test.Echo"),
        ("/other.S/M", "unknown service other.S"),
        ("/nothing", 'malformed method name: "/nothing"'),
    ],
)
async def test_unknown_methods(pair: GrpcChannel, path: str, text: str) -> None:
    for _ in range(2):
        with pytest.raises(RpcError) as caught:
            await pair.unary(path, b"")
        assert (caught.value.code, caught.value.message) == (GrpcCode.UNIMPLEMENTED, text)
    call = await pair.open(path)
    with pytest.raises(RpcError, match=r"unknown|malformed"):
        await call.take()


async def test_hooks_see_every_call(stage: Any) -> None:
    seen: list[Any] = []

    def before(context: Context, method: Method | None) -> None:
        if context.get("token") != "secret":
            raise RpcError(GrpcCode.UNAUTHENTICATED, "no")
        seen.append(("before", method.name if method is not None else None))

    def after(context: Context, code: GrpcCode, elapsed: float, received: int, sent: int) -> None:
        assert elapsed >= 0
        seen.append((context.method, code, received, sent))

    def map_error(error: Exception) -> RpcError | None:
        return RpcError(GrpcCode.DATA_LOSS, "mapped") if isinstance(error, ValueError) else None

    channel = await stage.pair(before=before, after=after, map_error=map_error)
    with pytest.raises(RpcError, match="no"):
        await channel.unary("/test.Echo/Unary", b"x")
    token = [("token", "secret")]
    await channel.unary("/test.Echo/Unary", b"four", metadata=token)
    with pytest.raises(RpcError, match="mapped"):
        await channel.unary("/test.Echo/Unary", b"bug", metadata=token)
    call = await channel.open("/test.Echo/Chat", token, frames=frame(b"a") + frame(b"bc"))
    assert [message async for message in call] == [b"<a>", b"<bc>"]
    with pytest.raises(RpcError, match="unknown service"):
        await channel.unary("/x.Y/Z", b"", metadata=token)
    assert seen == [
        ("/test.Echo/Unary", GrpcCode.UNAUTHENTICATED, 0, 0),
        ("before", "Unary"),
        ("/test.Echo/Unary", GrpcCode.OK, 4, 4),
        ("before", "Unary"),
        ("/test.Echo/Unary", GrpcCode.DATA_LOSS, 3, 0),
        ("before", "Chat"),
        ("/test.Echo/Chat", GrpcCode.OK, 3, 7),
        ("before", None),
        ("/x.Y/Z", GrpcCode.UNIMPLEMENTED, 0, 0),
    ]


async def test_deadline_ends_both_sides(stage: Any) -> None:
    channel = await stage.pair()
    await channel.unary("/test.Echo/Unary", b"connect")
    with pytest.raises(RpcError, match="context deadline exceeded") as caught:
        await channel.unary("/test.Echo/Unary", b"hang", timeout=1.0)  # time enough to get there
    assert caught.value.code is GrpcCode.DEADLINE_EXCEEDED
    await stage.echo.cancelled.wait()
    assert channel.active == 0
    assert (await channel.unary("/test.Echo/Unary", b"again")).message == b"again"


async def test_cancelling_the_caller_cancels_the_handler(stage: Any) -> None:
    channel = await stage.pair()
    task = asyncio.create_task(channel.unary("/test.Echo/Unary", b"hang"))
    await stage.echo.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stage.echo.cancelled.wait()
    assert channel.active == 0


async def test_cancelled_stream_ends_its_generator(stage: Any) -> None:
    channel = await stage.pair()
    call = await channel.open("/test.Echo/Expand", frames=frame(b"1000000"))
    assert await call.next_message() == b"x" * 1000
    call.cancel()
    with pytest.raises(RpcError, match="context canceled") as caught:
        await call.next_message()
    assert caught.value.code is GrpcCode.CANCELLED
    await stage.echo.cancelled.wait()


async def test_an_early_answer_ends_the_clients_side(stage: Any) -> None:
    async def first(requests: Any, context: Context) -> bytes:
        return await anext(requests)

    server = await stage.server()
    server.add(Method("/t.T/First", "stream_unary", None, None, first))
    channel = stage.channel(f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}")
    call = await channel.open("/t.T/First")
    await call.send(b"one")
    assert await call.take() == [b"one"]
    assert await call.take() == []
    assert channel.active == 0
    with pytest.raises(RpcError):
        await call.send(b"two")


async def test_unary_needs_one_message(pair: GrpcChannel) -> None:
    call = await pair.open("/test.Echo/Unary", frames=b"")
    with pytest.raises(RpcError, match="received no request message"):
        await call.take()
    call = await pair.open("/test.Echo/Unary", frames=frame(b"a") + frame(b"b"))
    with pytest.raises(RpcError, match="received multiple request messages"):
        await call.take()
    call = await pair.open("/test.Echo/Unary", frames=frame(b"abc")[:-1])
    with pytest.raises(RpcError, match="unexpected EOF"):
        await call.take()
    with pytest.raises(RpcError, match="received no response message"):
        await pair.unary("/test.Echo/Expand", b"0")
    with pytest.raises(RpcError, match="but received another message"):
        await pair.unary("/test.Echo/Expand", b"100000")
    assert pair.active == 0


async def test_size_limits_in_grpc_gos_words(stage: Any) -> None:
    target = await stage.listen(max_receive_bytes=1000, max_send_bytes=2000)
    channel = stage.channel(target, max_receive_bytes=1500)
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Echo/Unary", b"x" * 1001)
    assert caught.value.code is GrpcCode.RESOURCE_EXHAUSTED
    assert caught.value.message == "grpc: received message larger than max (1001 vs. 1000)"
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Echo/Unary", b"zip")
    assert caught.value.message == "trying to send message larger than max (100000 vs. 2000)"
    small = stage.channel(target, max_receive_bytes=10)
    with pytest.raises(RpcError) as caught:
        await small.unary("/test.Echo/Unary", b"x" * 11)
    assert caught.value.message == "grpc: received message larger than max (11 vs. 10)"
    assert small.active == 0
    call = await channel.open("/test.Echo/Chat")
    await call.send(b"x" * 500)
    await call.send(b"x" * 5000)
    assert await call.next_message() == b"<" + b"x" * 500 + b">"
    with pytest.raises(RpcError, match="larger than max"):
        await call.next_message()


async def test_compressed_answer_when_the_client_takes_it(pair: GrpcChannel) -> None:
    result = await pair.unary("/test.Echo/Unary", b"zip")
    assert result.message == b"0" * 100_000


async def test_unix_socket(stage: Any, tmp_path: Any) -> None:
    server = await stage.server()
    path = str(tmp_path / "grpc.sock")
    await server.listen_unix(path)
    channel = stage.channel(f"unix:{path}")
    assert (await channel.unary("/test.Echo/Unary", b"hi")).message == b"hi"
    gone = stage.channel(f"unix:{tmp_path}/none")
    with pytest.raises(RpcError, match=r"dial unix .*none: connect: no such file or directory"):
        await gone.unary("/test.Echo/Unary", b"hi")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("name", "address name: missing port in address"),
        ("localhost:name", "address localhost:name: invalid port"),
        ("[::1]:70000", r"address \[::1\]:70000: invalid port"),
        (f"{'x' * 64}.local:80", "lookup x+.local: no such host"),
    ],
)
async def test_addresses_that_are_none(stage: Any, target: str, problem: str) -> None:
    with pytest.raises(RpcError, match=f"dial tcp: {problem}") as failed:
        await stage.channel(target).unary("/test.Echo/Unary", b"hi")
    assert failed.value.code is GrpcCode.UNAVAILABLE


async def test_a_connection_accepted_elsewhere_is_served(stage: Any) -> None:
    server = await stage.server()
    adopted = asyncio.Event()

    class Front(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            server.adopt(self.transport, data)
            adopted.set()

    front = await asyncio.get_running_loop().create_server(Front, "127.0.0.1", 0)
    channel = stage.channel(f"127.0.0.1:{front.sockets[0].getsockname()[1]}")
    assert (await channel.unary("/test.Echo/Unary", b"hi")).message == b"hi"
    assert adopted.is_set()
    front.close()
