"""What is tried again, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from sidecars import MiniSidecar, Table, http_app, pair

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.http.messages import Request, Response
from dapr_common.resiliency.policies import RetryPolicy
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.resiliency.runner import PolicyRunner, Surroundings

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"
BIG = 6 << 20
_METHOD = "/v1.0/invoke/a2/method/x"
_EMPTY_SETTINGS, _PREFACE_BYTES, _HEADERS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)), 24, 1


def retry_quickly(sidecar: MiniSidecar) -> None:
    """The built-in retries without their pauses."""
    retry = RetryPolicy("x", "constant", 0.0, max_retries=3)
    runner = PolicyRunner("x", Surroundings(), retry=retry)
    sidecar.context.policies.builtin = lambda name: runner  # type: ignore[method-assign]


def guard(sidecar: MiniSidecar, timeout: float | None = None) -> None:
    retry = RetryPolicy("r", "constant", 0.0, max_retries=2)
    runner = PolicyRunner("p", Surroundings(), retry=retry, timeout=timeout)
    sidecar.context.policies.app = lambda app_id, endpoint: runner  # type: ignore[method-assign]


def move_when_forgotten(table: Table, address: str) -> None:
    """The resolver knows better once it was told that an address is dead."""
    forget = table.forget

    def forgotten(app_id: str, namespace: str, dead: str) -> None:
        forget(app_id, namespace, dead)
        table.addresses[app_id] = address

    table.forget = forgotten  # type: ignore[method-assign]


@asynccontextmanager
async def dies_of_a_call() -> AsyncIterator[str]:
    """The address of an HTTP/2 server that closes a connection at its first request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_EMPTY_SETTINGS)
        await reader.readexactly(_PREFACE_BYTES)
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == _HEADERS:
                writer.close()
                return

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(0)


@pytest.mark.parametrize("connected", [False, True])
async def test_a_peer_that_came_back_elsewhere_is_found(connected: bool) -> None:
    async with pair() as (a1, a2), http_app(a2) as app:
        retry_quickly(a1)
        table = a1.resolver
        assert isinstance(table, Table)
        if connected:
            assert (await a1.call("GET", "/v1.0/invoke/a2/method/x"))[0] == 200
        old = a2.internal_port
        again = MiniSidecar("a2", table)
        await again.start()
        again.context.channel = a2.context.channel
        await a2.internal.server.close(0)
        move_when_forgotten(table, f"127.0.0.1:{again.internal_port}")
        status, _, body = await a1.call("POST", "/v1.0/invoke/a2/method/x", [], b"data")
        assert (status, body) == (200, b"data")
        assert table.forgotten == [f"127.0.0.1:{old}"]
        assert app.requests[-1].path == b"/x"
        a2.context.channel, again.context.channel = again.context.channel, None
        await again.stop()


async def test_a_big_body_nobody_has_touched_is_sent_again() -> None:
    async with pair() as (a1, a2), http_app(a2):
        a1.http.max_body_bytes = None
        retry_quickly(a1)
        table = a1.resolver
        assert isinstance(table, Table)
        good, table.addresses["a2"] = table.addresses["a2"], "127.0.0.1:1"
        move_when_forgotten(table, good)
        body = pieces(*[b"x" * (1 << 20)] * 6)
        status, _, answer = await a1.call(
            "POST", "/v1.0/invoke/a2/method/x", [], body, content_length=BIG
        )
        assert (status, len(answer)) == (200, BIG)


@pytest.mark.parametrize("size", [3, BIG])
async def test_a_stream_is_not_sent_again(size: int) -> None:
    async with pair() as (a1, a2), http_app(a2) as app:
        a1.http.max_body_bytes = None
        retry_quickly(a1)
        table = a1.resolver
        assert isinstance(table, Table)
        async with dies_of_a_call() as dying:
            good, table.addresses["a2"] = table.addresses["a2"], dying
            move_when_forgotten(table, good)
            status, _, body = await a1.call("POST", _METHOD, [], pieces(b"x" * size))
        assert status == 500
        message = orjson.loads(body)["message"]
        assert message.startswith("failed to invoke, id: a2, err: rpc error: code = Unavailable")
        assert not app.requests


@pytest.mark.parametrize("size", [3, BIG])
async def test_a_stream_nobody_has_taken_goes_to_another_instance(size: int) -> None:
    async with pair() as (a1, a2), http_app(a2):
        a1.http.max_body_bytes = None
        table = a1.resolver
        assert isinstance(table, Table)
        good, table.addresses["a2"] = table.addresses["a2"], "127.0.0.1:1"
        move_when_forgotten(table, good)
        status, _, answer = await a1.call("POST", _METHOD, [], pieces(b"x" * size))
        assert (status, len(answer)) == (200, size)


@pytest.mark.parametrize("target", ["a1", "a2"])
async def test_a_stream_that_timed_out_is_not_begun_in_its_middle(target: str) -> None:
    async def hang(request: Request) -> Response:
        await request.read()
        await asyncio.Event().wait()
        raise AssertionError

    async with pair() as (a1, a2), http_app(a1 if target == "a1" else a2, hang) as app:
        guard(a1, timeout=0.5)
        ended = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            await ended.wait()
            yield b"two"

        call = asyncio.create_task(a1.call("POST", f"/v1.0/invoke/{target}/method/x", [], body()))
        status, _, answer = await call
        ended.set()
        assert status == 500
        assert orjson.loads(answer)["message"].endswith("err: context deadline exceeded")
        assert len(app.requests) == 1


# --- peers that know CallLocal only -------------------------------------------------------------


async def old_peer(answer: internals.InternalInvokeResponse | RpcError) -> tuple[GrpcServer, int]:
    async def call_local(
        request: internals.InternalInvokeRequest, context: Context
    ) -> internals.InternalInvokeResponse:
        if isinstance(answer, RpcError):
            raise answer
        found = internals.InternalInvokeResponse()
        found.CopyFrom(answer)
        found.message.data.value = request.message.data.value.upper()
        found.headers["X-Verb"].values.append(str(request.message.http_extension.verb))
        found.headers["X-Caller"].values.extend(request.metadata["dapr-caller-app-id"].values)
        return found

    server = GrpcServer(max_receive_bytes=None)
    server.add(
        Method(
            SERVICE + "CallLocal",
            "unary_unary",
            internals.InternalInvokeRequest,
            internals.InternalInvokeResponse,
            call_local,
        )
    )
    return server, await server.listen_tcp("127.0.0.1", 0)


@pytest.mark.parametrize("status", [201, 404])
async def test_an_old_peer_is_called_the_old_way(status: int) -> None:
    answer = internals.InternalInvokeResponse()
    answer.status.code = status
    answer.message.content_type = "text/y"
    server, port = await old_peer(answer)
    async with pair() as (a1, _):
        table = a1.resolver
        assert isinstance(table, Table)
        table.addresses["old"] = f"127.0.0.1:{port}"
        got, headers, body = await a1.call("PUT", "/v1.0/invoke/old/method/x", [], b"abc" * 2000)
        assert (got, body) == (status, b"ABC" * 2000)
        assert (headers[b"x-verb"], headers[b"x-caller"]) == (
            str(common_pb2.HTTPExtension.PUT).encode(),
            b"a1",
        )
        assert headers[b"content-type"] == b"text/y"
        # A body that is gone cannot be sent once more.
        got, _, body = await a1.call("PUT", "/v1.0/invoke/old/method/x", [], pieces(b"abc"))
        assert got == 500
        assert orjson.loads(body)["message"] == (
            "failed to invoke, id: old, err: target app 'old' is running a version of Dapr "
            "that does not support streaming-based service invocation"
        )
    await server.close(0)


async def test_errors_of_an_old_peer() -> None:
    server, port = await old_peer(RpcError(GrpcCode.PERMISSION_DENIED, "not you"))
    async with pair() as (a1, _):
        table = a1.resolver
        assert isinstance(table, Table)
        table.addresses["old"] = f"127.0.0.1:{port}"
        status, _, body = await a1.call("GET", "/v1.0/invoke/old/method/x")
        assert status == 403
        assert b"code = PermissionDenied desc = not you" in body
    await server.close(0)
