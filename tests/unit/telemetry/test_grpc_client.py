from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from harness.prometheus_text import labels, samples

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.observe.metrics import LATENCY_BUCKETS, SIZE_BUCKETS, Registry
from dapr_sidecar.telemetry.grpc_client import GrpcClientTelemetry

UNARY, CHAT, HANG = "/t.T/Unary", "/t.T/Chat", "/t.T/Hang"
PREFIX = "dapr_grpc_io_client_"


async def unary(request: bytes, context: Context) -> bytes:
    if request == b"no":
        raise RpcError(GrpcCode.NOT_FOUND, "no")
    return request * 2


async def chat(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message


async def hang(request: bytes, context: Context) -> bytes:
    await asyncio.Event().wait()
    return b""


@asynccontextmanager
async def calling(registry: Registry) -> AsyncIterator[GrpcChannel]:
    server = GrpcServer(max_receive_bytes=1 << 20)
    server.add(Method(UNARY, "unary_unary", None, None, unary))
    server.add(Method(CHAT, "stream_stream", None, None, chat))
    server.add(Method(HANG, "unary_unary", None, None, hang))
    port = await server.listen_tcp("127.0.0.1", 0)
    telemetry = GrpcClientTelemetry(registry, LATENCY_BUCKETS)
    channel = GrpcChannel(f"127.0.0.1:{port}", after=telemetry.finish)
    yield channel
    await channel.close()
    await server.close(0)


def outcomes(registry: Registry, method: str) -> dict[str, float]:
    found = samples(registry)
    completed = found[f"{PREFIX}completed_rpcs"]
    assert found[f"{PREFIX}roundtrip_latency_count"] == completed
    return {
        dict(pairs)["grpc_client_status"]: value
        for pairs, value in completed.items()
        if dict(pairs)["grpc_client_method"] == method
    }


async def test_unary_calls() -> None:
    registry = Registry()
    async with calling(registry) as channel:
        await channel.unary(UNARY, b"12345")
        await channel.unary(UNARY, b"67890")
        with pytest.raises(RpcError):
            await channel.unary(UNARY, b"no")
    assert outcomes(registry, UNARY) == {"OK": 2, "NotFound": 1}
    found = samples(registry)
    method = labels(grpc_client_method=UNARY)
    assert found[f"{PREFIX}sent_bytes_per_rpc_sum"] == {method: 12}
    assert found[f"{PREFIX}received_bytes_per_rpc_sum"] == {method: 20}
    assert len(found[f"{PREFIX}sent_bytes_per_rpc_bucket"]) == len(SIZE_BUCKETS) + 1


async def test_a_stream_is_one_call() -> None:
    registry = Registry()
    async with calling(registry) as channel:
        call = await channel.open(CHAT)
        for message in (b"123", b"45"):
            await call.send(message)
            assert await call.next_message() == message
        assert f"{PREFIX}completed_rpcs" not in samples(registry)
        await call.half_close()
        assert await call.next_message() is None
    assert outcomes(registry, CHAT) == {"OK": 1}
    found = samples(registry)
    assert list(found[f"{PREFIX}sent_bytes_per_rpc_sum"].values()) == [5]
    assert list(found[f"{PREFIX}received_bytes_per_rpc_sum"].values()) == [5]


async def test_calls_that_are_given_up() -> None:
    registry = Registry()
    async with calling(registry) as channel:
        with pytest.raises(RpcError):
            await channel.unary(HANG, b"1", timeout=0.02)
        (await channel.open(CHAT)).cancel()
    assert outcomes(registry, HANG) == {"DeadlineExceeded": 1}
    assert outcomes(registry, CHAT) == {"Canceled": 1}


async def test_a_target_that_is_away() -> None:
    registry = Registry()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        telemetry = GrpcClientTelemetry(registry, LATENCY_BUCKETS)
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        channel = GrpcChannel(target, after=telemetry.finish)
        with pytest.raises(RpcError):
            await channel.unary(UNARY, b"1")
        await channel.close()
    assert outcomes(registry, UNARY) == {"Unavailable": 1}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.telemetry.grpc_client._LIMIT", 3)
    telemetry = GrpcClientTelemetry(Registry(), LATENCY_BUCKETS)
    for number in range(10):
        telemetry.finish(f"/a/{number}", GrpcCode.OK, 1, 2, 3)
    assert len(telemetry._bound) <= 3


def test_long_method_names_are_not_kept() -> None:
    """Those of calls that are passed on are a stranger's choice."""
    registry = Registry()
    telemetry = GrpcClientTelemetry(registry, LATENCY_BUCKETS)
    for number in range(5):
        telemetry.finish("/" + "m" * 100_000 + str(number), GrpcCode.OK, 1.0, 2, 3)
    assert telemetry._bound == {}
    assert len(registry.render()) < 50_000
