"""How a sidecar ends: what runs may finish, what takes too long is cut, a restart keeps the pid."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import grpc
import pytest
import yaml
from harness.http_call import acall, call
from harness.local_app import LocalApp, Seen
from harness.programs import accepts_connections
from harness.sidecar import Sidecar, component, resource

from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2, metadata_pb2

PUBSUB = component("ps", "pubsub.in-memory")
SUBSCRIPTION = resource(
    "Subscription", "s", {"pubsubname": "ps", "topic": "t", "routes": {"default": "/t"}}, "v2alpha1"
)
DAPR = "/dapr.proto.runtime.v1.Dapr/"
PATIENT = ["--dapr-graceful-shutdown-seconds=60"]
"""Where a test decides when the work is done, which a busy machine delays."""


class Gate:
    """An app route that answers once the test lets it."""

    def __init__(self, status: int = 200) -> None:
        self.open = asyncio.Event()
        self.status = status

    async def __call__(self, seen: Seen) -> int:
        await self.open.wait()
        return self.status


async def ended(sidecar: Sidecar) -> int:
    return await asyncio.to_thread(sidecar.wait_exit)


async def line(sidecar: Sidecar, text: str) -> str:
    return await asyncio.to_thread(sidecar.wait_line, text)


async def test_open_requests_of_both_apis_finish_before_the_end() -> None:
    gate = Gate()
    async with (
        LocalApp({"POST /slow": gate}) as app,
        Sidecar(app_port=app.port, flags=PATIENT) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/slow"
        http = asyncio.create_task(acall(sidecar.http_port, "POST", path, b"x"))
        async with grpc.aio.insecure_channel(sidecar.grpc_address) as channel:
            invoke = channel.unary_unary(
                f"{DAPR}InvokeService",
                request_serializer=invoke_pb2.InvokeServiceRequest.SerializeToString,
            )
            message = common_pb2.InvokeRequest(
                method="slow", http_extension=common_pb2.HTTPExtension(verb="POST")
            )
            request = invoke_pb2.InvokeServiceRequest(id=sidecar.app_id, message=message)
            rpc = asyncio.ensure_future(invoke(request, timeout=50))
            await app.wait("/slow", 2)
            sidecar.signal(signal.SIGTERM)
            await line(sidecar, "beginning shutdown")
            while accepts_connections(sidecar.http_port):  # refused from some moment on
                await asyncio.sleep(0.01)
            gate.open.set()
            assert (await http).status == 200
            await rpc
        assert await ended(sidecar) == 0
        assert "Daprd shutdown gracefully" in sidecar.log


async def test_a_delivery_under_way_may_still_use_the_apis() -> None:
    let = asyncio.Event()
    statuses: list[int] = []

    async def take(seen: Seen) -> int:
        await let.wait()
        done = await acall(sidecar.http_port, "POST", "/v1.0/state/st", [{"key": "k", "value": 1}])
        statuses.append(done.status)
        return 200

    resources = [PUBSUB, SUBSCRIPTION, component("st", "state.in-memory")]
    async with LocalApp({"POST /t": take}) as app:
        sidecar = Sidecar(app_port=app.port, resources=resources, flags=PATIENT)
        async with sidecar:
            await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": 1})
            await app.wait("/t")
            sidecar.signal(signal.SIGTERM)
            while (await acall(sidecar.http_port, "GET", "/v1.0/healthz")).status != 500:
                await asyncio.sleep(0.01)
            let.set()
            assert await ended(sidecar) == 0
    assert statuses == [204]
    assert len(app.seen_on("/t")) == 1


async def test_what_takes_longer_than_the_grace_period_is_cut_with_exit_code_1() -> None:
    gate = Gate()
    async with LocalApp({"POST /slow": gate}) as app:
        sidecar = Sidecar(
            app_port=app.port, flags=["--dapr-graceful-shutdown-seconds=1"], exit_code=1
        )
        async with sidecar:
            path = f"/v1.0/invoke/{sidecar.app_id}/method/slow"
            open_call = asyncio.create_task(acall(sidecar.http_port, "POST", path, b"x"))
            await app.wait("/slow")
            sidecar.signal(signal.SIGTERM)
            assert await ended(sidecar) == 1
            assert "Graceful shutdown timeout exceeded, forcing shutdown" in sidecar.log
            gate.open.set()
            with pytest.raises((OSError, Exception)):
                await open_call


async def test_a_second_signal_ends_it_at_once() -> None:
    gate = Gate()
    async with LocalApp({"POST /slow": gate}) as app:
        sidecar = Sidecar(
            app_port=app.port, flags=["--dapr-graceful-shutdown-seconds=0"], exit_code=1
        )
        async with sidecar:
            path = f"/v1.0/invoke/{sidecar.app_id}/method/slow"
            open_call = asyncio.create_task(acall(sidecar.http_port, "POST", path, b"x"))
            await app.wait("/slow")
            sidecar.signal(signal.SIGTERM)
            await line(sidecar, "beginning shutdown")
            sidecar.signal(signal.SIGINT)
            assert await ended(sidecar) == 1
            assert "Received signal 'INT' during shutdown; exiting immediately" in sidecar.log
            gate.open.set()
            await asyncio.gather(open_call, return_exceptions=True)


def test_shutdown_api() -> None:
    with Sidecar() as sidecar:
        assert call(sidecar.http_port, "POST", "/v1.0/shutdown").status == 204
        assert sidecar.wait_exit() == 0
    with Sidecar() as sidecar, grpc.insecure_channel(sidecar.grpc_address) as channel:
        shutdown = channel.unary_unary(f"{DAPR}Shutdown")
        assert shutdown(b"", timeout=10) == b""
        assert sidecar.wait_exit() == 0


def test_forced_shutdown_is_exit_code_1() -> None:
    with Sidecar(exit_code=1) as sidecar:
        headers = {"dapr-force-shutdown": "True"}
        assert call(sidecar.http_port, "POST", "/v1.0/shutdown", headers=headers).status == 204
        assert sidecar.wait_exit() == 1
        assert "Daprd shutdown gracefully" not in sidecar.log


async def test_block_shutdown_serves_on_without_deliveries() -> None:
    async with LocalApp({"POST /t": 200}) as app:
        sidecar = Sidecar(
            app_port=app.port,
            resources=[PUBSUB, SUBSCRIPTION],
            flags=["--dapr-block-shutdown-duration=5s"],
        )
        async with sidecar:
            await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": 1})
            await app.wait("/t")
            sidecar.signal(signal.SIGTERM)
            asked = time.monotonic()
            await line(sidecar, "Blocking graceful shutdown")
            health = await acall(sidecar.http_port, "GET", "/v1.0/healthz")
            assert health.status == 500
            published = await acall(sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": 2})
            assert published.status == 204
            assert await ended(sidecar) == 0
            assert time.monotonic() - asked > 4.9
        assert len(app.seen_on("/t")) == 1


async def test_block_shutdown_ends_when_the_app_is_not_healthy() -> None:
    async with LocalApp({"GET /healthz": 200}) as app:
        sidecar = Sidecar(
            app_port=app.port,
            flags=[
                "--dapr-block-shutdown-duration=1h",
                "--enable-app-health-check",
                "--app-health-probe-interval=1",
                "--app-health-threshold=1",
            ],
        )
        async with sidecar:
            await line(sidecar, "App entered healthy status")
            sidecar.signal(signal.SIGTERM)
            await line(sidecar, "Blocking graceful shutdown for 1h0m0s or until app")
            app.routes["GET /healthz"] = 500
            assert await ended(sidecar) == 0
        assert "App entered un-healthy status" in sidecar.log


def test_sighup_starts_over_with_what_is_configured_now() -> None:
    sidecar = Sidecar(
        config={"api": {"denied": [{"name": "metadata", "version": "v1", "protocol": "http"}]}}
    )
    with sidecar:
        pid = sidecar.process.pid
        assert call(sidecar.http_port, "GET", "/v1.0/metadata").status == 404
        path = sidecar.folder / "config.yaml"
        path.write_text("spec: {features: 5}")
        sidecar.signal(signal.SIGHUP)
        sidecar.wait_line("not starting over, the running configuration stays")
        assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
        path.write_text(yaml.safe_dump(resource("Configuration", "config", {})))
        sidecar.signal(signal.SIGHUP)
        sidecar.wait_lines("dapr initialized. Status: Running", 2)
        assert call(sidecar.http_port, "GET", "/v1.0/metadata").status == 200
        assert sidecar.process.poll() is None
        assert sidecar.process.pid == pid


def test_restarts_leave_nothing_behind() -> None:
    with Sidecar(resources=[PUBSUB, component("st", "state.in-memory")]) as sidecar:

        def start_over(count: int) -> None:
            before = sidecar.log.count("dapr initialized")
            for number in range(count):
                sidecar.signal(signal.SIGHUP)
                sidecar.wait_lines("dapr initialized", before + number + 1)

        def files() -> int:
            return len(list(Path(f"/proc/{sidecar.process.pid}/fd").iterdir()))

        start_over(1)
        before = files()
        start_over(5)
        until = time.monotonic() + 30  # the last sockets may still be closing
        # The watch of the resources opens after the line that was waited for: one file is no leak,
        # one for each restart is.
        while files() > before + 1:
            assert time.monotonic() < until, f"{files()} files are open, {before} before"
            time.sleep(0.01)


async def test_sigterm_during_a_restart_ends_the_process() -> None:
    gate = Gate()
    async with (
        LocalApp({"POST /slow": gate}) as app,
        Sidecar(app_port=app.port, flags=PATIENT) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/slow"
        open_call = asyncio.create_task(acall(sidecar.http_port, "POST", path, b"x"))
        await app.wait("/slow")
        sidecar.signal(signal.SIGHUP)
        await line(sidecar, "Received signal 'HUP'")
        sidecar.signal(signal.SIGTERM)
        await line(sidecar, "beginning shutdown")
        gate.open.set()
        assert (await open_call).status == 200
        assert await ended(sidecar) == 0
        assert sidecar.log.count("dapr initialized") == 1


async def test_sighup_during_the_shutdown_starts_nothing() -> None:
    gate = Gate()
    async with (
        LocalApp({"POST /slow": gate}) as app,
        Sidecar(app_port=app.port, flags=PATIENT) as sidecar,
    ):
        path = f"/v1.0/invoke/{sidecar.app_id}/method/slow"
        open_call = asyncio.create_task(acall(sidecar.http_port, "POST", path, b"x"))
        await app.wait("/slow")
        sidecar.signal(signal.SIGTERM)
        await line(sidecar, "beginning shutdown")
        sidecar.signal(signal.SIGHUP)
        gate.open.set()
        assert (await open_call).status == 200
        assert await ended(sidecar) == 0
        assert sidecar.log.count("dapr initialized") == 1


def test_unix_sockets_are_used_and_removed() -> None:
    sidecar = Sidecar("uds", ready="")
    sidecar.command.append(f"--unix-domain-socket={sidecar.folder}")
    with sidecar:
        sidecar.wait_line("dapr initialized")
        http = sidecar.folder / "dapr-uds-http.socket"
        rpc = sidecar.folder / "dapr-uds-grpc.socket"
        assert call(str(http), "GET", "/v1.0/healthz").status == 204
        with grpc.insecure_channel(f"unix:{rpc}") as channel:
            found = channel.unary_unary(
                f"{DAPR}GetMetadata",
                response_deserializer=metadata_pb2.GetMetadataResponse.FromString,
            )(b"", timeout=10)
            assert found.id == "uds"
        second = Sidecar("uds", flags=sidecar.command[-1:], ready="", exit_code=1)
        second.start()
        assert second.wait_exit() == 1
        second.stop()
        assert "another process listens there" in second.log
        assert call(str(http), "GET", "/v1.0/healthz").status == 204
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", sidecar.http_port), 1)
        sidecar.signal(signal.SIGTERM)
        assert sidecar.wait_exit() == 0
        assert not http.exists()
        assert not rpc.exists()
