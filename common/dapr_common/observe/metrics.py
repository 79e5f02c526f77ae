"""Array counters: a series is bound once, an update is an addition to a list element.

The text is Prometheus' exposition format; a scrape costs the request path nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Literal, TypeVar

from dapr_common.observe.process import process_values, python_labels

__all__ = [
    "LATENCY_BUCKETS",
    "RATIO_BUCKETS",
    "SIZE_BUCKETS",
    "Counter",
    "Histogram",
    "HistogramSeries",
    "Registry",
    "Series",
    "is_short",
]

LATENCY_BUCKETS: tuple[float, ...] = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300),
    *(400, 500, 650, 800, 1000, 2000, 5000, 10000, 20000, 50000, 100000),
)
"""Milliseconds."""
SIZE_BUCKETS: tuple[float, ...] = (
    *(1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20),
    *(16 << 20, 64 << 20, 256 << 20, 1 << 30, 4 << 30),
)
"""Bytes."""
RATIO_BUCKETS: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0, 1.5, 2.0)

MAX_SERIES = 10_000
LONGEST_VALUE = 256
"""Characters of a label's value, the rest is cut off. Strangers choose some values, such as the
method they call, and each is written for every bucket of a histogram."""
Kind = Literal["counter", "gauge", "histogram"]
Rewrite = Callable[[str, str, str], str]
Sample = tuple[str, list[tuple[str, str]], float]


class Series:
    """One counter or gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add to a counter or gauge."""
        self.value += amount

    def set(self, value: float) -> None:
        """Set a gauge."""
        self.value = value


class HistogramSeries:
    """One histogram."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Record one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


def is_short(values: Iterable[str]) -> bool:
    """Whether label values are kept as they are; others are worth no place in a cache."""
    return all(len(value) <= LONGEST_VALUE for value in values)


def _cut(values: tuple[str, ...]) -> tuple[str, ...]:
    return values if is_short(values) else tuple(value[:LONGEST_VALUE] for value in values)


S = TypeVar("S", Series, HistogramSeries)


class _Family(Generic[S]):
    __slots__ = ("_bound", "_rewrite", "help", "kind", "labels", "name", "series")

    def __init__(
        self,
        name: str,
        kind: Kind,
        labels: tuple[str, ...],
        text: str,
        rewrite: Rewrite | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = text
        self.series: dict[tuple[str, ...], S] = {}
        self._rewrite = rewrite
        # With rewriting, several given label sets may share one series.
        self._bound: dict[tuple[str, ...], S] = self.series if rewrite is None else {}

    def at(self, *values: str) -> S:
        """The series of these label values, made when first used."""
        found = self._bound.get(values)
        return self._bind(values) if found is None else found

    def forget(self, *values: str) -> None:
        """Show the series of these label values no more; its object counts unseen from now on."""
        series = self._bound.pop(_cut(values) if self._rewrite is None else values, None)
        if self._rewrite is not None:
            for shown in [key for key, each in self.series.items() if each is series]:
                del self.series[shown]

    def _bind(self, values: tuple[str, ...]) -> S:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name}: expected values for {self.labels}, got {values}")
        shown = _cut(values)
        rewrite = self._rewrite
        if rewrite is not None:
            pairs = zip(self.labels, shown, strict=True)
            shown = tuple(rewrite(self.name, label, value) for label, value in pairs)
        series = self.series.get(shown)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                # Past the bound every new label set shares one series: memory stays bounded.
                shown = ("",) * len(self.labels)
            series = self.series.setdefault(shown, self._new())
        if rewrite is not None and len(self._bound) < MAX_SERIES and is_short(values):
            self._bound[values] = series
        return series

    def _new(self) -> S:
        raise NotImplementedError


class Counter(_Family[Series]):
    """A counter or gauge by label values."""

    __slots__ = ()

    def _new(self) -> Series:
        return Series()


class Histogram(_Family[HistogramSeries]):
    """A histogram by label values."""

    __slots__ = ("bounds",)

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        text: str,
        bounds: Sequence[float],
        rewrite: Rewrite | None = None,
    ) -> None:
        super().__init__(name, "histogram", labels, text, rewrite)
        self.bounds = tuple(bounds)

    def _new(self) -> HistogramSeries:
        return HistogramSeries(self.bounds)


F = TypeVar("F", Counter, Histogram)


class Registry:
    """All metrics of a program; ``const_labels`` are on every series.

    ``rewrite`` maps (metric, label, value) to the value to record, for Configuration
    ``metrics.rules``. A metric that is defined twice is one metric.
    """

    def __init__(
        self, const_labels: Sequence[tuple[str, str]] = (), rewrite: Rewrite | None = None
    ) -> None:
        self._const = tuple(const_labels)
        self._rewrite = rewrite
        self._families: dict[str, Counter | Histogram] = {}

    def counter(self, name: str, labels: Iterable[str] = (), text: str = "") -> Counter:
        """Define a counter."""
        return self._define(Counter(name, "counter", tuple(labels), text, self._rewrite))

    def gauge(self, name: str, labels: Iterable[str] = (), text: str = "") -> Counter:
        """Define a gauge."""
        return self._define(Counter(name, "gauge", tuple(labels), text, self._rewrite))

    def histogram(
        self,
        name: str,
        labels: Iterable[str] = (),
        text: str = "",
        bounds: Sequence[float] = LATENCY_BUCKETS,
    ) -> Histogram:
        """Define a histogram."""
        return self._define(Histogram(name, tuple(labels), text, bounds, self._rewrite))

    def _define(self, family: F) -> F:
        known = self._families.get(family.name)
        if known is None:
            self._families[family.name] = family
            return family
        if not isinstance(known, type(family)) or (known.kind, known.labels) != (
            family.kind,
            family.labels,
        ):
            raise ValueError(f"metric {family.name} is already defined in another way")
        return known

    def render(self) -> bytes:
        """The exposition text of everything recorded so far, and of the process itself."""
        lines: list[str] = []
        for family in self._families.values():
            if family.series:
                _head(lines, family.name, family.kind, family.help)
                lines += [_line(sample) for sample in self._samples(family)]
        for name, kind, samples in process_values():
            _head(lines, name, kind)
            lines += [_line((name, labels, value)) for labels, value in samples]
        _head(lines, "python_info", "gauge")
        lines += [_line(("python_info", python_labels(), 1.0)), ""]
        return "\n".join(lines).encode("utf-8", "replace")

    def _samples(self, family: Counter | Histogram) -> Iterator[Sample]:
        found: list[tuple[tuple[str, ...], Series | HistogramSeries]] = [*family.series.items()]
        for values, series in found:
            pairs = sorted((*self._const, *zip(family.labels, values, strict=True)))
            if isinstance(series, Series):
                yield family.name, pairs, series.value
                continue
            running = 0
            for bound, count in zip((*series.bounds, math.inf), series.counts, strict=True):
                running += count
                yield f"{family.name}_bucket", [*pairs, ("le", _number(bound))], float(running)
            yield f"{family.name}_sum", pairs, series.total
            yield f"{family.name}_count", pairs, float(running)


def _head(lines: list[str], name: str, kind: str, text: str = "") -> None:
    shown = (text or name).replace("\\", "\\\\").replace("\n", "\\n")
    lines += [f"# HELP {name} {shown}", f"# TYPE {name} {kind}"]


def _line(sample: Sample) -> str:
    name, pairs, value = sample
    if not pairs:
        return f"{name} {_number(value)}"
    labels = ",".join(f'{label}="{_escaped(text)}"' for label, text in pairs)
    return f"{name}{{{labels}}} {_number(value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
