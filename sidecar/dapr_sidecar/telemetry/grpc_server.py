"""Spans and metrics of the gRPC servers."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.grpc.server import Context
from dapr_common.observe.metrics import SIZE_BUCKETS, HistogramSeries, Registry, Series
from dapr_common.observe.tracing import (
    Kind,
    Span,
    SpanContext,
    Tracer,
    current_span,
    parse_grpc_trace_bin,
    parse_traceparent,
)
from dapr_sidecar.telemetry.spans import describe_grpc


class GrpcServerTelemetry:
    """What a gRPC server's hooks report."""

    def __init__(
        self, tracer: Tracer, registry: Registry | None, bounds: tuple[float, ...]
    ) -> None:
        self._tracer = tracer
        self.tracing = tracer.enabled
        self.metering = registry is not None
        self._bound: dict[tuple[str, GrpcCode], tuple[Series, HistogramSeries]] = {}
        if registry is None:
            return
        labels = ("grpc_server_method", "grpc_server_status")
        self._completed = registry.counter("dapr_grpc_io_server_completed_rpcs", labels)
        self._latency = registry.histogram(
            "dapr_grpc_io_server_server_latency", labels, bounds=bounds
        )
        self._received = registry.histogram(
            "dapr_grpc_io_server_received_bytes_per_rpc",
            ("grpc_server_method",),
            bounds=SIZE_BUCKETS,
        )
        self._sent = registry.histogram(
            "dapr_grpc_io_server_sent_bytes_per_rpc", ("grpc_server_method",), bounds=SIZE_BUCKETS
        )

    def start_span(self, context: Context, name: str, kind: Kind) -> Span:
        """Start the span of a call; the handler's task makes it current with ``adopt``."""
        span = self._tracer.start(name, kind, trace_parent(context))
        context.scratch["span"] = span
        current_span.set(span)
        return span

    def finish(
        self, context: Context, code: GrpcCode, elapsed_ms: float, received: int, sent: int
    ) -> None:
        """Record one call."""
        span = context.scratch.get("span")
        if isinstance(span, Span) and span.recording:
            describe_grpc(span, context)
            if code is not GrpcCode.OK:
                span.fail(code.go_name)
            span.end()
        if self.metering:
            key = (context.method, code)
            bound = self._bound.get(key)
            if bound is None:
                labels = (context.method, code.go_name)
                bound = self._bound[key] = (
                    self._completed.at(*labels),
                    self._latency.at(*labels),
                )
            bound[0].value += 1
            bound[1].observe(elapsed_ms)
            self._received.at(context.method).observe(received)
            self._sent.at(context.method).observe(sent)


def trace_parent(context: Context) -> SpanContext | None:
    """The caller's span: ``grpc-trace-bin`` first, then ``traceparent``."""
    binary = context.get("grpc-trace-bin")
    if isinstance(binary, bytes) and (found := parse_grpc_trace_bin(binary)) is not None:
        return found
    header = context.get("traceparent")
    if isinstance(header, str):
        state = context.get("tracestate")
        return parse_traceparent(header, state if isinstance(state, str) else "")
    return None
