"""Figures of one run: samples per round, medians, ratios of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

OURS, SECURED, REFERENCE, PEER = "ours", "ours-mtls", "R", "peer"


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender in one round. Times in seconds, memory in bytes.

    For ``startup``: ``cpu`` to the first healthz, ``p50`` its wall time, ``resident`` when idle.
    """

    cpu: float
    rate: float
    p50: float
    p99: float
    busy: float
    resident: int
    failures: int = 0
    first_failure: str = ""


@dataclass(slots=True)
class Case:
    """One scenario under one load, all contenders, all rounds."""

    scenario: str
    shape: str
    text: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``state-get 32``."""
        return f"{self.scenario} {self.shape}".strip()

    def add(self, contender: str, sample: Sample) -> None:
        """Record one round."""
        self.samples.setdefault(contender, []).append(sample)

    def median(self, contender: str, figure: Callable[[Sample], float]) -> float:
        """Of one figure, over the rounds."""
        return statistics.median(figure(sample) for sample in self.samples[contender])

    def ratio(
        self, contender: str, other: str, figure: Callable[[Sample], float] = lambda s: s.cpu
    ) -> float | None:
        """Median over the rounds of contender/other, or ``None`` when one was not there."""
        if contender not in self.samples or other not in self.samples:
            return None
        rounds = zip(self.samples[contender], self.samples[other], strict=True)
        return statistics.median(figure(mine) / figure(theirs) for mine, theirs in rounds)

    def failures(self, contender: str) -> int:
        """Calls that went wrong, in all rounds."""
        return sum(sample.failures for sample in self.samples[contender])


@dataclass(frozen=True, slots=True)
class Target:
    """``value`` of a case must not pass ``limit``; ``None`` when it was not measured."""

    scenario: str
    shape: str
    text: str
    limit: float
    value: Callable[[Case], float | None]

    def of(self, cases: Iterable[Case]) -> float | None:
        """The measured value."""
        for case in cases:
            if (case.scenario, case.shape) == (self.scenario, self.shape):
                return self.value(case)
        return None


def _of_reference(case: Case) -> float | None:
    return case.ratio(OURS, REFERENCE)


def _of_plaintext(case: Case) -> float | None:
    return case.ratio(SECURED, OURS)


TARGETS: tuple[Target, ...] = (
    Target("state-get", "32", "CPU per state get, part of R's", 0.30, _of_reference),
    Target("state-save", "32", "CPU per state save, part of R's", 0.30, _of_reference),
    Target("invoke", "32", "CPU per invoke with mutual TLS, part of plaintext", 1.3, _of_plaintext),
    Target(
        "grpc-proxy", "32", "CPU per proxied call with mutual TLS, of plaintext", 1.3, _of_plaintext
    ),
    Target(
        "startup", "", "idle RSS, MB", 45.0, lambda c: c.median(OURS, lambda s: s.resident / 1e6)
    ),
    Target(
        "startup", "", "CPU to the first healthz, s", 0.6, lambda c: c.median(OURS, lambda s: s.cpu)
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured."""

    target: Target
    value: float | None

    @property
    def word(self) -> str:
        """``met``, ``MISSED`` or ``not measured``."""
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.target.limit else "MISSED"


def judge(cases: Iterable[Case]) -> list[Verdict]:
    """Hold the figures against every target."""
    known = list(cases)
    return [Verdict(target, target.of(known)) for target in TARGETS]
