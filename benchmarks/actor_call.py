"""What actor calls cost beside plain invocation, and what idle actors weigh.

    python -m benchmarks.actor_call [--seconds 4] [--rounds 3] [--actors 100000] [--program PATH]

Placement, and two daprds: ``host`` has the app, ``caller`` has none. The daprds share a core where
there are two; the load and the app have the other one. Calls go to 1,000 actors in turn, with a
small body that the app echoes, over 32 connections, each with one call under way. CPU is that of
all daprds a call passes. Idle actors are called once each; the weight is what the host's resident
memory grew by. ``PATH`` is another daprd, measured in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.app import EchoApp
from benchmarks.contenders import post
from benchmarks.load import HttpLoad, Shape
from benchmarks.machine import children_on, choose_cores, describe
from benchmarks.programs import BenchmarkError, Program, free_port

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness.placement_process import Placement

BODY = b'{"value": 1}'
TYPE = "Bench"
ACTORS = 1000
SHAPE = Shape(32)
_WARM_UP_SECONDS = 0.5
_SETTLE_SECONDS = 20.0
_STORE = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: actors}
spec:
  type: state.in-memory
  version: v1
  metadata:
  - {name: actorStateStore, value: "true"}
"""
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


class ActorApp(EchoApp):
    """Echoes method calls of every actor."""

    def answer(self, url: bytes, body: bytes, content_type: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and body for a request."""
        if url.startswith(b"/actors/"):
            return 200, content_type, body
        if url == b"/dapr/config":
            return 200, b"application/json", json.dumps({"entities": [TYPE]}).encode()
        return super().answer(url, body, content_type)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A running daprd."""

    program: Program
    http_port: int


@dataclass(slots=True)
class Case:
    """One kind of call; CPU in microseconds."""

    name: str
    port: int
    programs: Sequence[Program]
    requests: Sequence[bytes]
    rates: list[float]
    costs: list[float]
    p50: list[float]


def request(method: str, path: str) -> bytes:
    """A whole request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


def actor_requests(names: Sequence[str]) -> list[bytes]:
    return [request("PUT", f"/v1.0/actors/{TYPE}/{name}/method/echo") for name in names]


async def start(
    stack: AsyncExitStack, command: Sequence[str], cores: frozenset[int], folder: Path, name: str
) -> Sidecar:
    port = free_port()
    flags = {
        "app-id": f"bench-{name}",
        "dapr-http-port": port,
        "dapr-grpc-port": free_port(),
        "dapr-internal-grpc-port": free_port(),
        "metrics-port": free_port(),
        "config": folder / "configuration.yaml",
    }
    words = [f"--{flag}={value}" for flag, value in flags.items()]
    environment = {"DAPR_HOST_IP": "127.0.0.1", "GOMAXPROCS": "1"}
    program = Program([*command, *words], cores, folder / f"{name}.log", environment)
    stack.push_async_callback(program.stop)
    await program.ready(port)
    return Sidecar(program, port)


async def measure(case: Case, seconds: float) -> None:
    load = HttpLoad(case.port, SHAPE, case.requests)
    await load.connect()
    try:
        await load.run(_WARM_UP_SECONDS)
        before = sum(program.cpu for program in case.programs)
        tally = await load.run(seconds)
        cpu = sum(program.cpu for program in case.programs) - before
    finally:
        await load.close()
    if tally.failures:
        raise BenchmarkError(f"{case.name}: {tally.failures} failures, {tally.first_failure}")
    calls = len(tally.latencies)
    case.rates.append(calls / tally.seconds)
    case.costs.append(cpu / calls * 1e6)
    case.p50.append(tally.quantile(0.5) * 1e3)


async def weigh(host: Sidecar, count: int) -> float:
    """Bytes per idle actor."""
    before = host.program.resident
    names = [f"idle-{number}" for number in range(count)]
    share = -(-count // SHAPE.connections)
    loads = [
        HttpLoad(host.http_port, Shape(1), actor_requests(names[first : first + share]))
        for first in range(0, count, share)
    ]
    called = 0
    for load in loads:
        await load.connect()
    while called < count:
        tallies = await asyncio.gather(*(load.run(1.0) for load in loads))
        called += sum(len(tally.latencies) for tally in tallies)
    for load in loads:
        await load.close()
    return (host.program.resident - before) / count


async def settled(sidecars: Sequence[Sidecar]) -> None:
    """Wait until each of them reaches the actors."""
    path = f"/v1.0/actors/{TYPE}/ready/method/echo"
    for sidecar in sidecars:
        # Calls wait for placement's tables, and are made again for a while.
        async with asyncio.timeout(_SETTLE_SECONDS):
            answer = await post(sidecar.http_port, path, BODY)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchmarkError(f"the actors cannot be reached: {answer[:300]!r}")


async def run(arguments: argparse.Namespace) -> None:
    cores = choose_cores()
    os.sched_setaffinity(0, cores.load)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-actors-")))
        (folder / "resources").mkdir()
        (folder / "resources" / "store.yaml").write_text(_STORE)
        configuration = _CONFIGURATION.format(path=folder / "names.db")
        (folder / "configuration.yaml").write_text(configuration)
        app = ActorApp("none")
        await app.start()
        stack.push_async_callback(app.stop)
        with children_on(cores.load):
            placement = stack.enter_context(Placement())
        common = [arguments.program, f"--placement-host-address={placement.address}"]
        hosting = [*common, f"--app-port={app.port}", f"--resources-path={folder / 'resources'}"]
        host = await start(stack, hosting, cores.tested, folder, "host")
        caller = await start(stack, common, cores.tested, folder, "caller")
        await settled([host, caller])
        actors = actor_requests([f"actor-{number}" for number in range(ACTORS)])
        invoke = [request("PUT", "/v1.0/invoke/bench-host/method/echo")]
        both = [host.program, caller.program]
        cases = [
            Case("actor call, local", host.http_port, [host.program], actors, [], [], []),
            Case("invoke, local", host.http_port, [host.program], invoke, [], [], []),
            Case("actor call, remote", caller.http_port, both, actors, [], [], []),
            Case("invoke, remote", caller.http_port, both, invoke, [], [], []),
        ]
        for _ in range(arguments.rounds):
            for case in cases:
                await measure(case, arguments.seconds)
        print(describe(cores))
        print("| call | calls/s | CPU per call, µs | p50, ms |\n|---|--:|--:|--:|")
        for case in cases:
            figures = [median(values) for values in (case.rates, case.costs, case.p50)]
            print(f"| {case.name} | {figures[0]:.0f} | {figures[1]:.1f} | {figures[2]:.2f} |")
        if arguments.actors:
            weight = await weigh(host, arguments.actors)
            resident = host.program.resident / (1 << 20)
            print(f"{arguments.actors} idle actors: {weight:.0f} B each, {resident:.0f} MiB in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--actors", type=int, default=100_000)
    parser.add_argument("--program", default=str(Path(sys.executable).with_name("daprd")))
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
