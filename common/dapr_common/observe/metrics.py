"""Array counters: a series is bound once, an update is an addition to a list element.

The text is Prometheus' exposition format; a scrape costs the request path nothing.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

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

MAX_SERIES = 10_000
_START = time.time()


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


class _Family:
    __slots__ = ("help", "kind", "labels", "name", "series")

    def __init__(self, name: str, kind: str, labels: tuple[str, ...], text: str) -> None:
        self.name = name
        self.kind = kind
        self.labels = labels
        self.help = text
        self.series: dict[tuple[str, ...], Series | HistogramSeries] = {}

    def _overflow(self) -> tuple[str, ...] | None:
        """Past the bound every new label set shares one series, so that memory stays bounded."""
        return ("",) * len(self.labels) if len(self.series) >= MAX_SERIES else None


class Counter(_Family):
    """A counter or gauge by label values."""

    __slots__ = ()

    def at(self, *values: str) -> Series:
        """The series of these label values, made when first used."""
        found = self.series.get(values)
        if found is None:
            values = self._overflow() or values
            found = self.series.setdefault(values, Series())
        assert isinstance(found, Series)
        return found


class Histogram(_Family):
    """A histogram by label values."""

    __slots__ = ("bounds",)

    def __init__(
        self, name: str, labels: tuple[str, ...], text: str, bounds: Sequence[float]
    ) -> None:
        super().__init__(name, "histogram", labels, text)
        self.bounds = tuple(bounds)

    def at(self, *values: str) -> HistogramSeries:
        """The series of these label values, made when first used."""
        found = self.series.get(values)
        if found is None:
            values = self._overflow() or values
            found = self.series.setdefault(values, HistogramSeries(self.bounds))
        assert isinstance(found, HistogramSeries)
        return found


class Registry:
    """All metrics of a program; ``const_labels`` are on every series.

    ``rewrite`` maps (metric, label, value) to the value to show, for Configuration
    ``metrics.rules``.
    """

    def __init__(
        self,
        const_labels: Sequence[tuple[str, str]] = (),
        rewrite: Callable[[str, str, str], str] | None = None,
    ) -> None:
        self._const = tuple(const_labels)
        self._rewrite = rewrite
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, labels: Iterable[str] = (), text: str = "") -> Counter:
        """Define a counter."""
        return self._define(Counter(name, "counter", tuple(labels), text))

    def gauge(self, name: str, labels: Iterable[str] = (), text: str = "") -> Counter:
        """Define a gauge."""
        return self._define(Counter(name, "gauge", tuple(labels), text))

    def histogram(
        self,
        name: str,
        labels: Iterable[str] = (),
        text: str = "",
        bounds: Sequence[float] = LATENCY_BUCKETS,
    ) -> Histogram:
        """Define a histogram."""
        family = Histogram(name, tuple(labels), text, bounds)
        self._families[name] = family
        return family

    def _define(self, family: Counter) -> Counter:
        self._families[family.name] = family
        return family

    def render(self) -> bytes:
        """The exposition text of everything recorded so far, and of the process itself."""
        lines: list[str] = []
        for family in self._families.values():
            if family.series:
                self._family(family, lines)
        _process(lines)
        lines.append("")
        return "\n".join(lines).encode()

    def _family(self, family: _Family, lines: list[str]) -> None:
        lines.append(f"# HELP {family.name} {family.help or family.name}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for values, series in list(family.series.items()):
            labels = self._labels(family, values)
            if isinstance(series, Series):
                shown = f"{{{labels}}}" if labels else ""
                lines.append(f"{family.name}{shown} {_number(series.value)}")
                continue
            separator = "," if labels else ""
            running = 0
            for bound, count in zip((*series.bounds, None), series.counts, strict=True):
                running += count
                le = "+Inf" if bound is None else _number(bound)
                lines.append(f'{family.name}_bucket{{{labels}{separator}le="{le}"}} {running}')
            shown = f"{{{labels}}}" if labels else ""
            lines.append(f"{family.name}_sum{shown} {_number(series.total)}")
            lines.append(f"{family.name}_count{shown} {running}")

    def _labels(self, family: _Family, values: tuple[str, ...]) -> str:
        pairs = list(self._const)
        for name, value in zip(family.labels, values, strict=True):
            shown = value if self._rewrite is None else self._rewrite(family.name, name, value)
            pairs.append((name, shown))
        return ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(pairs))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _process(lines: list[str]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    values = [
        ("process_cpu_seconds_total", "counter", usage.ru_utime + usage.ru_stime),
        ("process_resident_memory_bytes", "gauge", float(resident_bytes())),
        ("process_start_time_seconds", "gauge", _START),
        ("process_open_fds", "gauge", float(_open_files())),
        ("process_max_fds", "gauge", float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
    ]
    for name, kind, value in values:
        lines += [f"# HELP {name} {name}", f"# TYPE {name} {kind}", f"{name} {_number(value)}"]
    version = platform.python_version()
    lines += [
        "# HELP python_info python_info",
        "# TYPE python_info gauge",
        f'python_info{{implementation="CPython",version="{version}"}} 1',
    ]


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - one small read
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths
    except OSError:
        return 0
