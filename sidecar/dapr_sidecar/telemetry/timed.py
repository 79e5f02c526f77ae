"""A counter and a histogram that are always written together."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.observe.metrics import HistogramSeries, Registry, Series, is_short

_LIMIT = 4096


class Timed:
    """Counts calls and how long they took; one look-up for both."""

    __slots__ = ("_bound", "_count", "_latency")

    def __init__(
        self,
        registry: Registry,
        count: str,
        latency: str,
        labels: Sequence[str],
        bounds: Sequence[float],
    ) -> None:
        self._count = registry.counter(count, labels)
        self._latency = registry.histogram(latency, labels, bounds=bounds)
        self._bound: dict[tuple[str, ...], tuple[Series, HistogramSeries]] = {}

    def at(self, *labels: str) -> tuple[Series, HistogramSeries]:
        """The two series of these label values."""
        return self._count.at(*labels), self._latency.at(*labels)

    def record(self, labels: tuple[str, ...], elapsed_ms: float) -> None:
        """Record one call."""
        bound = self._bound.get(labels)
        if bound is None:
            if len(self._bound) >= _LIMIT:
                self._bound.clear()
            bound = self.at(*labels)
            if is_short(labels):
                self._bound[labels] = bound
        bound[0].value += 1
        bound[1].observe(elapsed_ms)
