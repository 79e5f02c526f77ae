"""The run itself: contenders side by side, measured in turn within each round."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks import report
from benchmarks.contenders import Contender, Daprd, ReferenceServer, Station
from benchmarks.load import Load, Shape
from benchmarks.machine import Cores
from benchmarks.programs import Program, start_redis
from benchmarks.results import OURS, PEER, REFERENCE, Case, Sample
from benchmarks.scenarios import SCENARIOS, STARTUP, Scenario, clean, prepare
from benchmarks.secured import SecuredDaprd, Sentry

T = TypeVar("T")
_WARM_UP_SECONDS = 0.3
_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asked for."""

    daprd: Path
    peer: Path | None
    only: Sequence[str]
    shapes: Sequence[Shape]
    seconds: float
    rounds: int

    def wants(self, name: str) -> bool:
        """Whether a scenario is to be measured."""
        return not self.only or name in self.only


async def run(plan: Plan, cores: Cores) -> list[Case]:
    """Measure everything in the plan. Raises ``BenchmarkError``."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        redis, port = await start_redis(cores.load, folder)
        try:
            contenders = _contenders(plan, folder, port, cores)
            for contender in contenders:
                await _warm(contender)
            cases = await _startup(plan, contenders) if plan.wants(STARTUP) else []
            wanted = [scenario for scenario in SCENARIOS if plan.wants(scenario.name)]
            if wanted:
                cases += await _calls(wanted, plan, contenders, folder, port, cores)
        finally:
            await redis.stop()
    return cases


async def _calls(
    wanted: Sequence[Scenario],
    plan: Plan,
    contenders: Sequence[Contender],
    folder: Path,
    port: int,
    cores: Cores,
) -> list[Case]:
    async with contextlib.AsyncExitStack() as stack:
        if any(scenario.pair for scenario in wanted):
            sentry = await Sentry.start(plan.daprd, cores.load, folder)
            stack.push_async_callback(sentry.stop)
            secured = SecuredDaprd(sentry, plan.daprd, folder, port, cores.tested)
            contenders = [*contenders, secured]
        stations = await stack.enter_async_context(_stations(contenders))
        cases: list[Case] = []
        for scenario in wanted:
            cases += await _scenario(scenario, plan, stations, port)
    return cases


def _contenders(plan: Plan, folder: Path, port: int, cores: Cores) -> list[Contender]:
    found: list[Contender] = [
        Daprd(OURS, plan.daprd, folder, port, cores.tested),
        ReferenceServer(REFERENCE, folder, port, cores.tested),
    ]
    if plan.peer is not None:
        found.append(Daprd(PEER, plan.peer, folder, port, cores.tested))
    return found


@contextlib.asynccontextmanager
async def _stations(contenders: Sequence[Contender]) -> AsyncIterator[list[Station]]:
    async with contextlib.AsyncExitStack() as stack:
        stations = []
        for contender in contenders:
            station = await contender.start_pair()
            stack.push_async_callback(station.stop)
            await prepare(station)
            stations.append(station)
        yield stations


async def _warm(contender: Contender) -> None:
    """One start that is not counted: it compiles, and brings files into the page cache."""
    program, _, _ = await contender.start_alone()
    await program.stop()


# --- start --------------------------------------------------------------------------------------


async def _startup(plan: Plan, contenders: Sequence[Contender]) -> list[Case]:
    case = Case(STARTUP, "", "start to the first healthz, then idle")
    for number in range(plan.rounds):
        for contender in turn(contenders, number):
            program, wall, cpu = await contender.start_alone()
            try:
                await asyncio.sleep(_IDLE_SECONDS)
                case.add(contender.name, Sample(cpu, 0.0, wall, wall, cpu / wall, program.resident))
            finally:
                await program.stop()
        _say(report.progress(case, number + 1, plan.rounds))
    return [case]


# --- calls --------------------------------------------------------------------------------------


async def _scenario(
    scenario: Scenario, plan: Plan, stations: Sequence[Station], redis_port: int
) -> list[Case]:
    cases = []
    for shape in filter(scenario.fits, plan.shapes):
        case = Case(scenario.name, str(shape), scenario.text)
        taking_part = [station for station in stations if scenario.includes(station)]
        for number in range(plan.rounds):
            for station in turn(taking_part, number):
                case.add(station.name, await sample(scenario, station, shape, plan.seconds))
                await clean(redis_port, station)
            _say(report.progress(case, number + 1, plan.rounds))
        cases.append(case)
    return cases


async def sample(scenario: Scenario, station: Station, shape: Shape, seconds: float) -> Sample:
    """One measurement after a short warm-up."""
    programs = scenario.programs(station)
    load = await scenario.open(station, shape)
    try:
        await load.run(_WARM_UP_SECONDS)
        return await _measured(load, programs, seconds)
    finally:
        await load.close()


async def _measured(load: Load, programs: Sequence[Program], seconds: float) -> Sample:
    gc.collect()
    before, started = _cpu(programs), time.perf_counter()
    tally = await load.run(seconds)
    cpu, wall = _cpu(programs) - before, time.perf_counter() - started
    calls = len(tally.latencies)
    return Sample(
        cpu / calls,
        calls / tally.seconds,
        tally.quantile(0.5),
        tally.quantile(0.99),
        cpu / wall,
        sum(program.resident for program in programs),
        tally.failures,
        tally.first_failure,
    )


def _cpu(programs: Sequence[Program]) -> float:
    return sum(program.cpu for program in programs)


def turn(contenders: Sequence[T], number: int) -> list[T]:
    """Another one is first in every round."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
