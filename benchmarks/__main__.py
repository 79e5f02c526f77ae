"""``python -m benchmarks``: measure, print, and with ``--check`` hold against the targets."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.load import Shape
from benchmarks.machine import choose_cores, describe
from benchmarks.programs import BenchmarkError
from benchmarks.results import Case, Verdict, judge
from benchmarks.run import Plan, run
from benchmarks.scenarios import SCENARIOS, STARTUP

_NAMES = (*(scenario.name for scenario in SCENARIOS), STARTUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 for a missed target or failed calls, 2 when it could not be measured."""
    options = _parse(arguments)
    plan = Plan(
        options.daprd,
        options.peer,
        options.only,
        options.connections,
        options.seconds,
        options.rounds,
    )
    cores = choose_cores()
    machine = describe(cores)
    os.sched_setaffinity(0, cores.load)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            cases = runner.run(run(plan, cores))
    except BenchmarkError as error:
        print(f"benchmark failed: {error}", file=sys.stderr)
        return 2
    verdicts = judge(cases)
    if options.json != "-":
        print(report.text(machine, cases, verdicts))
    if options.json:
        settings = {"seconds": plan.seconds, "rounds": plan.rounds}
        _write(options.json, report.document(machine, settings, cases, verdicts))
    return _status(cases, verdicts, check=options.check)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    here = Path(sys.executable).parent / "daprd"
    parser.add_argument("--daprd", type=Path, default=here, help="our daprd (default: %(default)s)")
    parser.add_argument("--peer", type=Path, help="another daprd, started with the same flags")
    parser.add_argument(
        "--only", type=_names, default=(), help=f"comma list of: {', '.join(_NAMES)}"
    )
    parser.add_argument("--seconds", type=_positive, default=1.5, help="per figure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--connections",
        type=_shapes,
        default="1,32,1x32",
        help="comma list; AxB, for gRPC only, is A connections with B calls each (%(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write JSON; - is standard output")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    for program in (options.daprd, options.peer):
        if program is not None and not os.access(program, os.X_OK):
            parser.error(f"{program} is not a program that can be run")
    return options


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in _NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_NAMES)}")
    return names


def _shapes(text: str) -> tuple[Shape, ...]:
    try:
        return tuple(Shape.parse(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _write(target: str, document: object) -> None:
    text = json.dumps(document, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text)


def _status(cases: Sequence[Case], verdicts: Sequence[Verdict], *, check: bool) -> int:
    failed = [(c.name, n, s) for c in cases for n, rounds in c.samples.items() for s in rounds]
    status = 0
    for case, name, sample in failed:
        if sample.failures:
            print(
                f"{case}: {name}: {sample.failures} failed: {sample.first_failure}", file=sys.stderr
            )
            status = 1
    if check:
        words = [verdict.word for verdict in verdicts]
        if "MISSED" in words:
            return 1
        if set(words) == {"not measured"}:
            print("--check: nothing with a target was measured", file=sys.stderr)
            return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
