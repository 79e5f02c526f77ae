"""The figures as an aligned table and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results import OURS, PEER, REFERENCE, SECURED, Case, Sample, Verdict

_ORDER = (OURS, SECURED, REFERENCE, PEER)
_STARTUP = "startup"


def text(machine: Mapping[str, object], cases: Sequence[Case], verdicts: Sequence[Verdict]) -> str:
    """Everything a reader needs."""
    calls = [case for case in cases if case.scenario != _STARTUP]
    parts = [_machine(machine)]
    if calls:
        parts += [_table(_call_rows(calls)), _legend(calls)]
    for case in cases:
        if case.scenario == _STARTUP:
            parts.append(_table(_startup_rows(case)))
    parts.append(_table([["target", "limit", "measured", ""], *map(_verdict_row, verdicts)]))
    return "\n\n".join(parts)


def document(
    machine: Mapping[str, object],
    settings: Mapping[str, object],
    cases: Sequence[Case],
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    """The same for programs: seconds, bytes, every round."""
    return {
        "machine": dict(machine),
        "settings": dict(settings),
        "cases": [
            {
                "scenario": case.scenario,
                "shape": case.shape,
                "text": case.text,
                "cpu_of_reference": case.ratio(OURS, REFERENCE),
                "cpu_of_peer": case.ratio(OURS, PEER),
                "cpu_of_mtls_to_plaintext": case.ratio(SECURED, OURS),
                "rounds": {
                    name: [dataclasses.asdict(sample) for sample in samples]
                    for name, samples in case.samples.items()
                },
            }
            for case in cases
        ],
        "targets": [
            {"text": v.target.text, "limit": v.target.limit, "value": v.value, "verdict": v.word}
            for v in verdicts
        ],
    }


def progress(case: Case, number: int, rounds: int) -> str:
    """One line about the round that ended."""
    scale, unit = (1e3, "ms") if case.scenario == _STARTUP else (1e6, "us")
    parts = [f"{n} {case.samples[n][-1].cpu * scale:.1f} {unit}" for n in _present(case)]
    return f"{case.name}: round {number}/{rounds}: CPU " + ", ".join(parts)


def _machine(machine: Mapping[str, object]) -> str:
    pinned = "program under test alone on one core" if machine["pinned"] else "NOT PINNED: one core"
    load = machine["load_average"]
    assert isinstance(load, list)
    busy = " (BUSY: run again on a quiet machine)" if load[0] > 1 else ""
    return (
        f"{machine['date']}, {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gib']} GiB, Python {machine['python']}, {pinned}, "
        f"load before the run {load}{busy}"
    )


def _call_rows(cases: Sequence[Case]) -> list[list[str]]:
    head = ["scenario", "load", "who", "us CPU/call", "of R", "of peer", "of plain", "calls/s"]
    rows = [[*head, "p50 ms", "p99 ms", "busy %", "RSS MB", "failed"]]
    for case in cases:
        names = _present(case)
        rows += [[case.scenario, case.shape, each, *_call_figures(case, each)] for each in names]
    return rows


def _call_figures(case: Case, name: str) -> list[str]:
    def median(figure: Any, form: str) -> str:
        return format(case.median(name, figure), form)

    return [
        median(lambda s: s.cpu * 1e6, ".1f"),
        _share(case, name, REFERENCE),
        _share(case, name, PEER),
        _share(case, name, OURS) if name == SECURED else "",
        median(lambda s: s.rate, ".0f"),
        median(lambda s: s.p50 * 1e3, ".2f"),
        median(lambda s: s.p99 * 1e3, ".2f"),
        median(lambda s: s.busy * 100, ".0f"),
        median(_megabytes, ".1f"),
        str(case.failures(name)),
    ]


def _startup_rows(case: Case) -> list[list[str]]:
    rows = [["start to healthz", "CPU s", "of R", "of peer", "wall s", "idle RSS MB"]]
    return rows + [[name, *_startup_figures(case, name)] for name in _present(case)]


def _startup_figures(case: Case, name: str) -> list[str]:
    return [
        f"{case.median(name, lambda s: s.cpu):.3f}",
        _share(case, name, REFERENCE),
        _share(case, name, PEER),
        f"{case.median(name, lambda s: s.p50):.3f}",
        f"{case.median(name, _megabytes):.1f}",
    ]


def _present(case: Case) -> list[str]:
    return [name for name in _ORDER if name in case.samples]


def _share(case: Case, name: str, other: str) -> str:
    ratio = None if name == other else case.ratio(name, other)
    return "" if ratio is None else f"{ratio:.2f}"


def _megabytes(sample: Sample) -> float:
    return sample.resident / 1e6


def _legend(cases: Sequence[Case]) -> str:
    texts = dict.fromkeys((case.scenario, case.text) for case in cases)
    lines = [f"{name}: {explained}" for name, explained in texts]
    lines.append("load: connections with one call each; AxB is A connections with B calls each")
    lines.append("of R, of peer: CPU per call as a part of the other's, median of each round's")
    lines.append("of plain: the same of mutual TLS between the two sidecars and none")
    lines.append("busy: CPU of the measured programs per wall time; where it is low, the load or")
    lines.append("      others on the machine set calls/s and latencies: trust only CPU per call")
    return "\n".join(lines)


def _verdict_row(verdict: Verdict) -> list[str]:
    target = verdict.target
    where = f"{target.scenario} {target.shape}".strip()
    value = "-" if verdict.value is None else f"{verdict.value:.3g}"
    return [f"{where}: {target.text}", f"<= {target.limit:g}", value, verdict.word]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [all(_is_number(cell) for cell in column[1:]) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(".", "", 1).isdigit()
