"""Metrics of gRPC calls this sidecar makes."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.errors import GrpcCode
from dapr_common.observe.metrics import SIZE_BUCKETS, HistogramSeries, Registry, Series, is_short

_LIMIT = 4096
_Bound = tuple[Series, HistogramSeries, HistogramSeries, HistogramSeries]


class GrpcClientTelemetry:
    """What a client reports, one call for each RPC."""

    def __init__(self, registry: Registry, bounds: Sequence[float]) -> None:
        prefix, method = "dapr_grpc_io_client_", ("grpc_client_method",)
        labels = (*method, "grpc_client_status")
        self._completed = registry.counter(f"{prefix}completed_rpcs", labels)
        self._latency = registry.histogram(f"{prefix}roundtrip_latency", labels, bounds=bounds)
        self._sent = registry.histogram(f"{prefix}sent_bytes_per_rpc", method, bounds=SIZE_BUCKETS)
        self._received = registry.histogram(
            f"{prefix}received_bytes_per_rpc", method, bounds=SIZE_BUCKETS
        )
        self._bound: dict[tuple[str, GrpcCode], _Bound] = {}

    def finish(
        self, method: str, code: GrpcCode, elapsed_ms: float, sent: int, received: int
    ) -> None:
        """Record one call; ``method`` is the full one."""
        key = (method, code)
        bound = self._bound.get(key)
        if bound is None:
            if len(self._bound) >= _LIMIT:
                self._bound.clear()
            labels = (method, code.go_name)
            bound = (
                self._completed.at(*labels),
                self._latency.at(*labels),
                self._sent.at(method),
                self._received.at(method),
            )
            if is_short(labels):
                self._bound[key] = bound
        bound[0].value += 1
        bound[1].observe(elapsed_ms)
        bound[2].observe(sent)
        bound[3].observe(received)
