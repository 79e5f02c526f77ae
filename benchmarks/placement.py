"""What 2,000 sidecars cost placement, and how long a change takes until all have the tables.

    python -m benchmarks.placement [--sidecars 2000] [--types 3] [--changes 20] [--program PATH]

Placement is a real process; it has a core of its own where there are two. Every sidecar is a TCP
connection of its own that hosts so many actor types and answers each order at once. All of them
are this one process, whose time is in every figure: its core stands for the whole fleet. A change
is one sidecar that reports other types; the clock starts before it. ``PATH`` is another placement
program, measured in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import uvloop

from benchmarks.machine import children_on, choose_cores, cpu_seconds, describe, resident_bytes
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from harness.placement_process import METHOD, Placement

ANSWERS = {"lock": pb.LOCK, "update": pb.UPDATE, "unlock": pb.UNLOCK}
CONNECTING_AT_A_TIME = 64
PHASES = ("lock", "update", "unlock")


class Fleet:
    """When the last one got each order of the newest version, and who waits for that."""

    def __init__(self) -> None:
        self.sidecars = 0
        self.version = -1
        self.counts = dict.fromkeys(PHASES, 0)
        self.at: dict[str, float] = {}
        self.settled = asyncio.Event()
        self.bytes = 0
        self._last: tuple[bytes, pb.PlacementOrder] = (b"", pb.PlacementOrder())

    def parsed(self, raw: bytes) -> pb.PlacementOrder:
        """Most sidecars get the same bytes: they are read once, the tables are not the point."""
        if raw != self._last[0]:
            self._last = (raw, pb.PlacementOrder.FromString(raw))
        return self._last[1]

    def took(self, order: pb.PlacementOrder, size: int) -> None:
        if order.version > self.version:
            self.version = order.version
            self.counts = dict.fromkeys(PHASES, 0)
            self.settled.clear()
        self.counts[order.operation] += 1
        self.at[order.operation] = time.perf_counter()
        if order.operation == "update":
            self.bytes = size
        if self.counts["unlock"] >= self.sidecars:
            self.settled.set()


class Sidecar:
    """One stream on a connection of its own."""

    def __init__(self, port: int, fleet: Fleet, number: int, types: int) -> None:
        self._channel = GrpcChannel(f"127.0.0.1:{port}", connect_timeout=300.0)
        self._fleet = fleet
        self._name = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:50002"
        self._id = f"app-{number}"
        self._types = [f"Type{each}" for each in range(types)]
        self._call: Call | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._call = await self._channel.open(METHOD)
        self._reader = asyncio.ensure_future(self._read(self._call))
        await self.report()

    async def report(self, *more: str) -> None:
        assert self._call is not None
        report = pb.Host(
            name=self._name,
            id=self._id,
            namespace="default",
            entities=[*self._types, *more],
            api_level=20,
            operation=pb.REPORT,
        )
        await self._call.send(report)

    async def _read(self, call: Call) -> None:
        with suppress(RpcError):  # the end of everything
            async for raw in call:
                await call.send(self._answer(raw))

    def _answer(self, raw: bytes) -> pb.Host:
        order = self._fleet.parsed(raw)
        self._fleet.took(order, len(raw))
        return pb.Host(
            id=self._id,
            namespace="default",
            operation=ANSWERS[order.operation],
            version=order.version,
        )

    async def close(self) -> None:
        assert self._reader is not None
        self._reader.cancel()
        await asyncio.wait({self._reader})
        await self._channel.close()


async def in_groups(work: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for start in range(0, len(work), CONNECTING_AT_A_TIME):
        await asyncio.gather(*(each() for each in work[start : start + CONNECTING_AT_A_TIME]))


async def measure(options: argparse.Namespace) -> None:
    cores = choose_cores()
    print(describe(cores))
    async with AsyncExitStack() as stack:
        with children_on(cores.tested):
            # One process answers for the whole fleet: its pauses are not to be taken for ends.
            patience = ["--keepalive-time=10s", "--keepalive-timeout=10s"]
            patience.append(f"--disseminate-timeout={options.timeout}s")
            placement = Placement("--log-level=info", *patience)
            if options.program:
                placement.command[0] = options.program
            stack.enter_context(placement)
        idle = memory(placement)
        print(f"\nalone: {idle:.0f} MiB")
        fleet = Fleet()
        sidecars = [
            Sidecar(placement.port, fleet, number, options.types)
            for number in range(options.sidecars)
        ]
        fleet.sidecars = len(sidecars)
        began, busy = time.perf_counter(), cpu_seconds(placement.process.pid)
        await in_groups([sidecar.open for sidecar in sidecars])
        await fleet.settled.wait()
        took, busy = (
            time.perf_counter() - began,
            cpu_seconds(placement.process.pid) - busy,
        )
        print(
            f"{len(sidecars)} sidecars, {options.types} types each: all have joined and hold the "
            f"same tables ({fleet.bytes / 1024:.0f} KiB) within {took:.1f} s, {fleet.version} "
            f"rounds, {busy:.1f} s of placement's core; memory {memory(placement):.0f} MiB"
        )
        gc.collect()
        gc.freeze()
        await changes(options, placement, fleet, sidecars)
        await leaving(placement, fleet, sidecars)
        await in_groups([sidecar.close for sidecar in sidecars])


async def changes(
    options: argparse.Namespace, placement: Placement, fleet: Fleet, sidecars: list[Sidecar]
) -> None:
    times: dict[str, list[float]] = {phase: [] for phase in PHASES}
    busy = cpu_seconds(placement.process.pid)
    peak = 0.0
    for number in range(options.changes):
        fleet.settled.clear()
        began = time.perf_counter()
        await sidecars[number].report("Another")
        await fleet.settled.wait()
        for phase in PHASES:
            times[phase].append((fleet.at[phase] - began) * 1000)
        peak = max(peak, memory(placement))
    busy = (cpu_seconds(placement.process.pid) - busy) / options.changes * 1000
    print("\n| one change, until the last sidecar has | p50 ms | worst ms |\n|---|---|---|")
    for phase in PHASES:
        ordered = sorted(times[phase])
        print(f"| {phase} | {ordered[len(ordered) // 2]:.0f} | {ordered[-1]:.0f} |")
    print(f"\nplacement's CPU for one change: {busy:.0f} ms; memory at most {peak:.0f} MiB")


async def leaving(placement: Placement, fleet: Fleet, sidecars: list[Sidecar]) -> None:
    count = len(sidecars) // 10
    gone, sidecars[:] = sidecars[:count], sidecars[count:]
    fleet.sidecars = len(sidecars)
    fleet.settled.clear()
    version, began, busy = fleet.version, time.perf_counter(), cpu_seconds(placement.process.pid)
    await asyncio.gather(*(sidecar.close() for sidecar in gone))
    while True:
        await fleet.settled.wait()
        await asyncio.sleep(0.3)
        if fleet.settled.is_set() and fleet.at["unlock"] < time.perf_counter() - 0.3:
            break
    print(
        f"{count} of them leave at once: the others have the last tables after "
        f"{(fleet.at['update'] - began) * 1000:.0f} ms, {fleet.version - version} rounds, "
        f"{cpu_seconds(placement.process.pid) - busy:.1f} s of placement's core; "
        f"memory {memory(placement):.0f} MiB"
    )


def memory(placement: Placement) -> float:
    return resident_bytes(placement.process.pid) / (1 << 20)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement", description=__doc__)
    parser.add_argument("--sidecars", type=int, default=2000)
    parser.add_argument("--types", type=int, default=3)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--timeout", type=int, default=300, help="seconds of a round at most")
    parser.add_argument("--program", default="", help="another placement program")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
