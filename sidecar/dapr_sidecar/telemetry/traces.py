"""Metrics of the traces that this sidecar exports."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry


class TraceMetrics:
    """Counts of spans by exporter, such as ``otlp collector:4317``."""

    def __init__(self, registry: Registry) -> None:
        self._lost = registry.counter(
            "dapr_runtime_trace_spans_lost_total",
            ("exporter",),
            "Spans that did not reach their collector: it was away, refused them, or was slower "
            "than they came.",
        )

    def lost(self, exporter: str, count: int) -> None:
        """Add to what one exporter lost; 0 shows that there is one."""
        self._lost.at(exporter).add(count)
