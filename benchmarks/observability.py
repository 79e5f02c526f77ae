"""What metrics and traces cost a state get.

    python -m benchmarks.observability [--seconds 1.5] [--rounds 5] [--connections 32] [--check]

The same daprd several times beside each other, measured in turn within each round: without metrics
and tracing, with metrics, with both at the default (nothing sampled), and with 1 % and all traces
sampled and sent to a collector by OTLP over HTTP. The collector is a process on the other core that
takes everything and keeps nothing. ``--check`` fails when metrics and unsampled tracing together
cost more than a fifth of the bare request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop
import yaml

from benchmarks.contenders import Daprd, Station
from benchmarks.load import Shape
from benchmarks.machine import Cores, choose_cores, describe
from benchmarks.programs import BenchmarkError, Program, free_port, start_redis
from benchmarks.results import Case
from benchmarks.run import sample, turn
from benchmarks.scenarios import SCENARIOS, clean, prepare

BARE, METRICS, UNSAMPLED = "bare", "metrics", "unsampled"
SAMPLED = {"sampled-1": "0.01", "sampled-100": "1"}
TEXTS = {
    BARE: "neither metrics nor tracing",
    METRICS: "metrics",
    UNSAMPLED: "metrics and tracing, nothing sampled",
    "sampled-1": "metrics and tracing, 1 % sampled",
    "sampled-100": "metrics and tracing, all sampled",
}
LIMIT = 1.2
_SCENARIO = next(each for each in SCENARIOS if each.name == "state-get")


class ObservedDaprd(Daprd):
    """A daprd whose Configuration says how much it tells."""

    def __init__(
        self,
        name: str,
        program: Path,
        folder: Path,
        redis_port: int,
        cores: frozenset[int],
        *,
        metrics: bool = True,
        tracing: Mapping[str, object],
    ) -> None:
        super().__init__(name, program, folder, redis_port, cores)
        self._metrics = metrics
        manifest = yaml.safe_load(self._configuration.read_text())
        manifest["spec"]["tracing"] = dict(tracing)
        self._configuration.write_text(yaml.safe_dump(manifest))

    def _more_flags(self) -> Sequence[str]:
        return [f"--enable-metrics={str(self._metrics).lower()}"]


async def start_collector(cores: frozenset[int], folder: Path) -> tuple[Program, int]:
    """A process that answers every OTLP export with success."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.observability", "--collect", str(port)]
    program = Program(command, cores, folder / "collector.log")
    await program.ready(port)
    return program, port


async def collect(port: int) -> None:
    """Take requests and keep nothing of them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, found, rest = head.partition(b"content-length:")
                if found:
                    await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


async def run(seconds: float, rounds: int, shape: Shape, daprd: Path, cores: Cores) -> Case:
    """Measure everything. Raises ``BenchmarkError``."""
    case = Case(_SCENARIO.name, str(shape), _SCENARIO.text)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        redis, redis_port = await start_redis(cores.load, folder)
        stack.push_async_callback(redis.stop)
        collector, port = await start_collector(cores.load, folder)
        stack.push_async_callback(collector.stop)
        stations: list[Station] = []
        for name, metrics, tracing in _variants(port):
            contender = ObservedDaprd(
                name, daprd, folder, redis_port, cores.tested, metrics=metrics, tracing=tracing
            )
            station = await contender.start_pair()
            stack.push_async_callback(station.stop)
            await prepare(station)
            stations.append(station)
        for number in range(rounds):
            for station in turn(stations, number):
                case.add(station.name, await sample(_SCENARIO, station, shape, seconds))
                await clean(redis_port, station)
    return case


def _variants(collector: int) -> list[tuple[str, bool, Mapping[str, object]]]:
    off: Mapping[str, object] = {"samplingRate": "0"}
    exporter = {
        "otel": {
            "endpointAddress": f"127.0.0.1:{collector}",
            "protocol": "http",
            "isSecure": False,
        }
    }
    sampled = [(name, True, {"samplingRate": rate, **exporter}) for name, rate in SAMPLED.items()]
    return [(BARE, False, off), (METRICS, True, off), (UNSAMPLED, True, {}), *sampled]


def report(case: Case) -> None:
    """Print a row for each of them."""
    print("| state get | CPU per call, µs | of bare | failed |\n|---|--:|--:|--:|")
    for name, text in TEXTS.items():
        cpu = case.median(name, lambda each: each.cpu)
        ratio = case.ratio(name, BARE)
        print(f"| {text} | {1e6 * (cpu or 0):.1f} | {ratio:.2f} | {case.failures(name)} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.observability", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("daprd"))
    parser.add_argument("--check", action="store_true", help="fail when the limit is passed")
    parser.add_argument("--collect", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.collect:
        uvloop.run(collect(chosen.collect))
        return 0
    cores = choose_cores()
    shape = Shape(chosen.connections)
    print(describe(cores))
    try:
        case = uvloop.run(run(chosen.seconds, chosen.rounds, shape, chosen.program, cores))
    except BenchmarkError as error:
        print(f"benchmark failed: {error}", file=sys.stderr)
        return 1
    report(case)
    ratio = case.ratio(UNSAMPLED, BARE)
    return int(chosen.check and (ratio is None or ratio > LIMIT))


if __name__ == "__main__":
    sys.exit(main())
