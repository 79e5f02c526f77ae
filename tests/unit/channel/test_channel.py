from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest
import trustme
from google.protobuf import empty_pb2
from harness.virtual_time import VirtualLoop
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.http.client import ConnectError
from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.observe.metrics import Registry
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.channel.base import AppUnhealthyError
from dapr_sidecar.channel.concurrency import ConcurrencyGate
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.health import AppHealthProber, HealthState
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.telemetry.metrics import SidecarMetrics

METRICS = SidecarMetrics(Registry(), "default", (1.0,))
Serve = Callable[[Request], Awaitable[Response]]


async def ok(request: Request) -> Response:
    return Response(200, [], b"|".join(v for n, v in request.headers if n == b"dapr-api-token"))


def http_channel(
    port: int, protocol: Literal["http", "https", "h2c"] = "http", token: str = "", limit: int = 0
) -> HttpChannel:
    return HttpChannel(
        "127.0.0.1",
        port,
        protocol=protocol,
        token=token,
        max_concurrency=limit,
        max_header_bytes=4096,
        metrics=METRICS,
    )


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[int]]]:
    servers: list[HttpServer] = []

    async def start(handler: Serve = ok, tls: ssl.SSLContext | None = None) -> int:
        server = HttpServer(handler, max_body_bytes=None, max_header_bytes=8192)
        servers.append(server)
        return await server.listen_tcp("127.0.0.1", 0, ssl=tls)

    yield start
    for server in servers:
        await server.close(0)


def self_signed() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("nobody.example").configure_cert(context)
    return context


# --- http ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["http", "https", "h2c"])
async def test_protocols_and_token(serve: Any, protocol: Literal["http", "https", "h2c"]) -> None:
    port = await serve(ok, self_signed() if protocol == "https" else None)
    channel = http_channel(port, protocol, token="secret")
    response = await channel.request("GET", b"/x", [(b"dapr-API-token", b"callers")])
    assert (response.status, await response.read()) == (200, b"secret")
    response = await channel.request("GET", b"/x", [], probe=True)
    assert await response.read() == b""
    await channel.close()


async def test_unhealthy_apps_are_only_probed(serve: Any) -> None:
    channel = http_channel(await serve())
    channel.healthy = False
    with pytest.raises(AppUnhealthyError, match="app is not in a healthy state"):
        await channel.request("GET", b"/x", [])
    response = await channel.request("GET", b"/x", [], probe=True)
    assert response.status == 200
    await response.read()
    await channel.close()


async def test_slots_are_held_until_the_body_is_read_and_freed_by_failures(serve: Any) -> None:
    channel = http_channel(await serve(), limit=1)
    first = await channel.request("GET", b"/x", [])
    waiting = asyncio.create_task(channel.request("GET", b"/x", []))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await first.read()
    second = await waiting
    second.close()
    await channel.close()
    dead = http_channel(1, limit=1)
    for _ in range(3):
        with pytest.raises(
            ConnectError, match=r"dial tcp 127\.0\.0\.1:1: connect: connection refused"
        ):
            await dead.request("GET", b"/x", [])
    await dead.close()


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_the_gate_counts(steps: list[bool], limit: int) -> None:
    async def run() -> None:
        gate = ConcurrencyGate(limit)
        inside = 0
        for enter in steps:
            if enter and inside < limit:
                await asyncio.wait_for(gate.enter(), 1)
                inside += 1
            elif inside:
                gate.leave()
                inside -= 1
        if inside == limit:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gate.enter(), 0.001)

    asyncio.run(run())


# --- grpc ---------------------------------------------------------------------------------------

HEALTH = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"


async def tokens(request: bytes, context: Context) -> bytes:
    return ",".join(str(v) for n, v in context.metadata if n == "dapr-api-token").encode()


async def healthy(request: Any, context: Context) -> Any:
    return appcallback_pb2.HealthCheckResponse()


@pytest.mark.parametrize("tls", [False, True])
async def test_grpc_apps(tls: bool) -> None:
    server = GrpcServer(max_receive_bytes=1 << 20)
    server.add(Method("/a.B/T", "unary_unary", None, None, tokens))
    port = await server.listen_tcp("127.0.0.1", 0, ssl=self_signed_h2() if tls else None)
    channel = AppGrpcChannel(
        "127.0.0.1", port, tls=tls, token="secret", max_concurrency=1, max_message_bytes=1 << 20
    )
    for _ in range(2):
        call = await channel.open("/a.B/T", [("dapr-api-token", "callers")], None)
        await call.send(b"")
        await call.half_close()
        assert await call.take() == [b"secret"]
        channel.leave()
    channel.healthy = False
    with pytest.raises(AppUnhealthyError):
        await channel.open("/a.B/T", [], None)
    await channel.close()
    await server.close(0)


def self_signed_h2() -> ssl.SSLContext:
    context = self_signed()
    context.set_alpn_protocols(["h2"])
    return context


# --- health -------------------------------------------------------------------------------------


def test_successes_below_the_threshold_do_not_reset() -> None:
    state = HealthState(3)
    assert not state.healthy
    assert state.report(True)
    for success in (False, True, False, True):
        assert not state.report(success)
    assert state.report(False)
    assert not state.healthy
    assert not state.report(False)
    assert state.report(True)
    for success in (False, False):
        assert not state.report(success)
    assert state.report(False)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4))
def test_health_against_a_model(probes: list[bool], threshold: int) -> None:
    state = HealthState(threshold)
    well, failures = False, 0
    for success in probes:
        before = well
        if success and not well:
            well, failures = True, 0
        elif not success and well:
            failures += 1
            well = failures < threshold
        assert state.report(success) is (before != well)
        assert state.healthy is well


async def test_probes_over_http(serve: Any) -> None:
    seen: list[tuple[bytes, list[bytes]]] = []
    status = 200

    async def handler(request: Request) -> Response:
        seen.append((request.path, [n for n, _ in request.headers]))
        return Response(status)

    channel = http_channel(await serve(handler), token="secret")
    prober = AppHealthProber(
        channel, path="hz", interval=0.005, timeout=20, threshold=2, metrics=METRICS
    )
    changes: asyncio.Queue[bool] = asyncio.Queue()
    task = asyncio.create_task(prober.run(changes.put))
    async with asyncio.timeout(30):
        assert await changes.get() is True
        assert channel.healthy
        status = 500
        assert await changes.get() is False
        assert not channel.healthy
        status = 204
        assert await changes.get() is True
    task.cancel()
    await asyncio.wait([task])
    assert seen[0] == (b"/hz", [b"host"])
    await channel.close()


async def test_probes_over_grpc_and_slow_apps() -> None:
    hang = asyncio.Event()
    hang.set()

    async def maybe(request: Any, context: Context) -> Any:
        await hang.wait()
        return appcallback_pb2.HealthCheckResponse()

    server = GrpcServer(max_receive_bytes=1 << 20)
    kinds = (empty_pb2.Empty, appcallback_pb2.HealthCheckResponse)
    server.add(Method(HEALTH, "unary_unary", *kinds, maybe))
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = AppGrpcChannel(
        "127.0.0.1", port, tls=False, token="", max_concurrency=0, max_message_bytes=None
    )
    prober = AppHealthProber(
        channel, path="", interval=0.005, timeout=0.05, threshold=1, metrics=METRICS
    )
    changes: asyncio.Queue[bool] = asyncio.Queue()
    task = asyncio.create_task(prober.run(changes.put))
    async with asyncio.timeout(30):
        assert await changes.get() is True
        hang.clear()
        assert await changes.get() is False
    task.cancel()
    await asyncio.wait([task])
    await channel.close()
    await server.close(0)


def test_slow_probes_do_not_make_the_interval_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe() -> list[float]:
        asked: list[float] = []

        async def hang(*_: Any, **__: Any) -> None:
            asked.append(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

        channel = http_channel(1)
        monkeypatch.setattr(channel, "request", hang)
        prober = AppHealthProber(
            channel, path="hz", interval=1, timeout=0.8, threshold=3, metrics=METRICS
        )

        async def changed(_: bool) -> None:
            raise AssertionError

        task = asyncio.create_task(prober.run(changed))
        await asyncio.sleep(3.5)
        task.cancel()
        await asyncio.wait([task])
        return asked

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(probe()) == [0, 1, 2, 3]
