"""Who is measured: daprd programs with real manifests, and the reference server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.app import PUBSUB, EchoApp, GrpcEchoApp
from benchmarks.programs import BenchmarkError, Program, free_port

STORE = "statestore"
_SETTLE_SECONDS = 20.0
_COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: {type}
  version: v1
  metadata:
  - {{name: redisHost, value: "127.0.0.1:{port}"}}
  - {{name: redisPassword, value: ""}}
"""
# Multicast is not there on every machine, a file is.
_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: benchmark}}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {{connectionString: "{path}"}}
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one server listens."""

    http: int
    grpc: int


@dataclass(slots=True)
class Station:
    """A running pair: ``called`` has the app behind it, ``caller`` reaches it by invocation.

    ``proxied`` stands before a gRPC app, where the contender can do that.
    """

    name: str
    app: EchoApp
    app_id: str
    topic: str
    called: Program
    called_ports: Ports
    caller: Program
    caller_ports: Ports
    proxied: Program | None = None
    proxied_app: GrpcEchoApp = field(default_factory=GrpcEchoApp)

    @property
    def proxied_id(self) -> str:
        """The gRPC app's id."""
        return f"{self.app_id}-grpc"

    async def stop(self) -> None:
        """End the servers and the apps."""
        await self.caller.stop()
        await self.called.stop()
        if self.proxied is not None:
            await self.proxied.stop()
        await self.proxied_app.stop()
        await self.app.stop()


class Contender:
    """Knows how to start one kind of server."""

    def __init__(self, name: str, folder: Path, redis_port: int, cores: frozenset[int]) -> None:
        self.name = name
        self._folder = folder / name
        self._folder.mkdir()
        self._redis_port = redis_port
        self._cores = cores
        self._started = 0

    async def start_alone(self) -> tuple[Program, float, float]:
        """One server without an app; wall and CPU seconds until it was healthy."""
        ports = Ports(free_port(), free_port())
        command = self._command(f"{self.name}-alone", ports)
        program = self._run(command)
        try:
            wall, cpu = await program.ready(ports.http)
        except BaseException:
            await program.stop()
            raise
        return program, wall, cpu

    async def start_pair(self) -> Station:
        """A caller and a server with an app, ready for every kind of call."""
        app_id, topic = f"{self.name}-called", f"bench-{self.name}"
        app = EchoApp(topic)
        await app.start()
        called_ports, caller_ports = (Ports(free_port(), free_port()) for _ in range(2))
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(app.stop)
            called = self._run(self._command(app_id, called_ports, app=app, topic=topic))
            undo.push_async_callback(called.stop)
            await called.ready(called_ports.http)
            command = self._command(f"{self.name}-caller", caller_ports, peer=called_ports)
            caller = self._run(command)
            undo.push_async_callback(caller.stop)
            await caller.ready(caller_ports.http)
            station = Station(
                self.name, app, app_id, topic, called, called_ports, caller, caller_ports
            )
            await _settled(station)
            undo.pop_all()
        try:
            await self._add_proxied(station)
        except BaseException:
            await station.stop()
            raise
        return station

    async def _add_proxied(self, station: Station) -> None:
        """Start what stands before a gRPC app; not every contender has that."""

    def _run(self, command: Sequence[str]) -> Program:
        self._started += 1
        log = self._folder / f"{self._started}.log"
        return Program(command, self._cores, log, self._environment())

    def _environment(self) -> Mapping[str, str]:
        return {}

    def _command(
        self,
        app_id: str,
        ports: Ports,
        *,
        app: EchoApp | None = None,
        topic: str = "",
        peer: Ports | None = None,
    ) -> list[str]:
        raise NotImplementedError


class Daprd(Contender):
    """A daprd with Redis state and pub/sub; everything that is on by default stays on."""

    def __init__(
        self, name: str, program: Path, folder: Path, redis_port: int, cores: frozenset[int]
    ) -> None:
        super().__init__(name, folder, redis_port, cores)
        self._program = program
        self._resources = self._folder / "resources"
        self._resources.mkdir()
        for component, kind in ((STORE, "state.redis"), (PUBSUB, "pubsub.redis")):
            text = _COMPONENT.format(name=component, type=kind, port=redis_port)
            (self._resources / f"{component}.yaml").write_text(text)
        self._configuration = self._folder / "configuration.yaml"
        names = self._folder / "names.db"
        self._configuration.write_text(_CONFIGURATION.format(path=names))

    async def _add_proxied(self, station: Station) -> None:
        app, ports = station.proxied_app, Ports(free_port(), free_port())
        await app.start()
        command = self._command(station.proxied_id, ports)
        command += ["--app-port", str(app.port), "--app-protocol", "grpc"]
        station.proxied = self._run(command)
        await station.proxied.ready(ports.http)

    def _environment(self) -> Mapping[str, str]:
        return {"GOMAXPROCS": "1"}  # one core is all a Go program gets here; Python reads it not

    def _command(
        self,
        app_id: str,
        ports: Ports,
        *,
        app: EchoApp | None = None,
        topic: str = "",
        peer: Ports | None = None,
    ) -> list[str]:
        flags = {
            "app-id": app_id,
            "dapr-http-port": ports.http,
            "dapr-grpc-port": ports.grpc,
            "dapr-internal-grpc-port": free_port(),
            "metrics-port": free_port(),
            "resources-path": self._resources,
            "config": self._configuration,
        }
        if app is not None:
            flags["app-port"] = app.port
        words = (word for name, value in flags.items() for word in (f"--{name}", str(value)))
        return [str(self._program), *words, *self._more_flags()]

    def _more_flags(self) -> Sequence[str]:
        """What a variant of the program is started with besides."""
        return ()


class ReferenceServer(Contender):
    """``benchmarks/reference.py``."""

    def _command(
        self,
        app_id: str,
        ports: Ports,
        *,
        app: EchoApp | None = None,
        topic: str = "",
        peer: Ports | None = None,
    ) -> list[str]:
        command = [sys.executable, "-m", "benchmarks.reference", "--app-id", app_id]
        command += ["--http-port", str(ports.http), "--grpc-port", str(ports.grpc)]
        command += ["--redis-port", str(self._redis_port)]
        if app is not None:
            command += ["--app-port", str(app.port), "--topic", topic]
        if peer is not None:
            command += ["--peer-http-port", str(peer.http), "--peer-grpc-port", str(peer.grpc)]
        return command


async def _settled(station: Station) -> None:
    """Wait until events reach the app and the caller finds the called one."""
    arrived = asyncio.Event()
    station.app.delivered = lambda slot, number: arrived.set()
    publish = f"/v1.0/publish/{PUBSUB}/{station.topic}"
    invoke = f"/v1.0/invoke/{station.app_id}/method/echo"
    await _until_accepted(station.called_ports.http, publish, b'{"slot":"0-0"}')
    try:
        async with asyncio.timeout(_SETTLE_SECONDS):
            await arrived.wait()
    except TimeoutError:
        raise BenchmarkError(
            f"{station.name}: no event reached the app; its output:\n{station.called.tail()}"
        ) from None
    finally:
        station.app.delivered = None
    await _until_accepted(station.caller_ports.http, invoke, b'{"ready":true}')


async def _until_accepted(port: int, path: str, body: bytes) -> None:
    deadline = time.perf_counter() + _SETTLE_SECONDS
    answer = b""
    while time.perf_counter() < deadline:
        answer = await post(port, path, body)
        if answer.startswith(b"HTTP/1.1 2"):
            return
        await asyncio.sleep(0.1)
    raise BenchmarkError(f"POST {path} on port {port} is not accepted: {answer[:300]!r}")


async def post(port: int, path: str, body: bytes) -> bytes:
    """One JSON request on a connection of its own; the whole answer."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        return await reader.read()
    finally:
        writer.close()
