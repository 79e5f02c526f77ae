"""Stores, brokers, apps and sidecars that go away: clear errors, and no message is lost."""

from __future__ import annotations

import asyncio
import json
import resource as limits
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.app import RecordingApp
from harness.http_call import acall, call
from harness.local_app import LocalApp, Seen
from harness.programs import free_port
from harness.redis_server import RedisServer, is_available, redis_server
from harness.sidecar import Manifest, Sidecar, component, resource

needs_redis = pytest.mark.skipif(not is_available(), reason="redis-server is not installed")
BROKERS = [pytest.param("redis", marks=needs_redis), "sqlite"]


def subscription(topic: str = "t", route: str = "/t") -> Manifest:
    spec = {"pubsubname": "ps", "topic": topic, "routes": {"default": route}}
    return resource("Subscription", "s", spec, "v2alpha1")


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[Manifest]:
    """A pub/sub component whose messages outlive the sidecar; redelivered after a second."""
    if kind == "sqlite":
        yield component(
            "ps",
            "pubsub.sqlite",
            connectionString=folder / "b.db",
            leaseDuration="1s",
            redeliveryDelay="100ms",
            pollInterval="200ms",
        )
        return
    with redis_server() as redis:
        yield component(
            "ps",
            "pubsub.redis",
            redisHost=redis.address,
            processingTimeout="1s",
            redeliverInterval="200ms",
        )


def state_redis(port: int, **more: object) -> Manifest:
    return component("st", "state.redis", redisHost=f"127.0.0.1:{port}", **more)


def save(sidecar: Sidecar, value: object, key: str = "k") -> Any:
    return call(sidecar.http_port, "POST", "/v1.0/state/st", [{"key": key, "value": value}])


# --- Redis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("st", "state.redis"),
        ("ps", "pubsub.redis"),
        ("lk", "lock.redis"),
        ("cf", "configuration.redis"),
        ("bd", "bindings.redis"),
    ],
)
def test_redis_that_is_not_there_at_the_start(name: str, kind: str) -> None:
    port = free_port()
    manifest = component(name, kind, redisHost=f"127.0.0.1:{port}", redisMaxRetries=1)
    sidecar = Sidecar(resources=[manifest], ready="", exit_code=1)
    sidecar.start()
    try:
        assert sidecar.wait_exit(60) == 1
    finally:
        sidecar.stop()
    (fatal,) = [line for line in sidecar.lines if "level=fatal" in line]
    assert f"process component {name} error: [INIT_COMPONENT_FAILURE]" in fatal
    assert f"127.0.0.1:{port}" in fatal
    assert "Traceback" not in sidecar.log


@needs_redis
def test_with_ignored_errors_the_sidecar_runs_and_takes_redis_when_it_comes() -> None:
    port = free_port()
    manifest = state_redis(port, redisMaxRetries=0)
    manifest["spec"]["ignoreErrors"] = True
    flags = ["--hot-reload-reconcile-interval=200ms"]
    with Sidecar(resources=[manifest], flags=flags) as sidecar:
        assert save(sidecar, 1).code == "ERR_STATE_STORE_NOT_CONFIGURED"
        with redis_server(port=port):
            sidecar.wait_line("Component loaded: st (state.redis/v1)")
            assert save(sidecar, 1).status == 204


@needs_redis
def test_redis_that_goes_and_comes_back(tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--dir", str(tmp_path))
    port = free_port()
    with (
        redis_server(*durable, port=port) as redis,
        Sidecar(resources=[state_redis(port, redisMaxRetries=1)]) as sidecar,
    ):
        assert save(sidecar, 1).status == 204
        stop(redis)
        started = time.monotonic()
        refused = save(sidecar, 2)
        assert (refused.status, refused.code) == (500, "ERR_STATE_SAVE")
        assert "redis" in refused.json["message"]
        got = call(sidecar.http_port, "GET", "/v1.0/state/st/k")
        assert (got.status, got.code) == (500, "ERR_STATE_GET")
        assert time.monotonic() - started < 20
        assert call(sidecar.http_port, "GET", "/v1.0/healthz").status == 204
        with redis_server(*durable, port=port):
            assert save(sidecar, 3, "other").status == 204
            assert call(sidecar.http_port, "GET", "/v1.0/state/st/k").json == 1


def stop(redis: RedisServer) -> None:
    from contextlib import suppress
    from subprocess import CalledProcessError

    with suppress(CalledProcessError):  # it answers by going away
        redis.call("shutdown", "nosave")


# --- disk ----------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Sidecar(resources=[component("st", "state.sqlite", connectionString=path)]) as sidecar:
        assert save(sidecar, "before").status == 204
        everything = limits.prlimit(sidecar.process.pid, limits.RLIMIT_FSIZE)
        size = max(file.stat().st_size for file in tmp_path.iterdir())
        limits.prlimit(sidecar.process.pid, limits.RLIMIT_FSIZE, (size, everything[1]))
        refused = save(sidecar, "x" * 2_000_000)
        assert (refused.status, refused.code) == (500, "ERR_STATE_SAVE")
        assert call(sidecar.http_port, "GET", "/v1.0/state/st/k").json == "before"
        limits.prlimit(sidecar.process.pid, limits.RLIMIT_FSIZE, everything)
        assert save(sidecar, "after").status == 204
        assert call(sidecar.http_port, "GET", "/v1.0/state/st/k").json == "after"


# --- kill -9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BROKERS)
async def test_an_app_that_is_killed_while_it_handles_messages(kind: str, tmp_path: Path) -> None:
    slow = {"POST /t": {"status": 200, "delay": 30}}
    app = RecordingApp(slow)
    app.exit_code = None
    with broker(kind, tmp_path) as ps:
        sidecar = Sidecar(app_port=app.port, resources=[ps, subscription()])
        async with app:
            await asyncio.to_thread(sidecar.__enter__)
            try:
                for number in range(5):
                    done = await acall(
                        sidecar.http_port, "POST", "/v1.0/publish/ps/t", {"n": number}
                    )
                    assert done.status == 204
                await asyncio.to_thread(app.wait_report, path="/t")
                app.signal(signal.SIGKILL)
                await asyncio.to_thread(app.wait_exit)
                async with LocalApp({"POST /t": 200}, port=app.port) as back:
                    async with asyncio.timeout(40):
                        while {seen.json["data"]["n"] for seen in back.seen_on("/t")} != set(
                            range(5)
                        ):
                            await asyncio.sleep(0.05)
            finally:
                await asyncio.to_thread(sidecar.stop)


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_sidecar_that_is_killed_during_deliveries_loses_nothing(
    kind: str, tmp_path: Path
) -> None:
    hold = asyncio.Event()

    async def take(seen: Seen) -> int:
        if seen.json["data"]["n"] >= 3:
            await hold.wait()
        return 200

    async with LocalApp({"POST /t": take}) as app:
        with broker(kind, tmp_path) as ps:
            manifests = [ps, subscription()]
            first = Sidecar("worker", app_port=app.port, resources=manifests, exit_code=None)
            async with first:
                for number in range(8):
                    done = await acall(first.http_port, "POST", "/v1.0/publish/ps/t", {"n": number})
                    assert done.status == 204
                async with asyncio.timeout(40):
                    while not {0, 1, 2, 3} <= numbers(app):
                        await asyncio.sleep(0.02)
                first.signal(signal.SIGKILL)
                await asyncio.to_thread(first.wait_exit)
            before = len(app.seen_on("/t"))
            hold.set()
            async with Sidecar("worker", app_port=app.port, resources=manifests):
                async with asyncio.timeout(40):
                    while not set(range(3, 8)) <= {
                        seen.json["data"]["n"] for seen in app.seen_on("/t")[before:]
                    }:
                        await asyncio.sleep(0.05)
    assert numbers(app) == set(range(8))


def numbers(app: LocalApp) -> set[int]:
    return {json.loads(seen.body)["data"]["n"] for seen in app.seen_on("/t")}
