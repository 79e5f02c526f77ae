"""Spans and metrics of the gRPC servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.observe.metrics import SIZE_BUCKETS, HistogramSeries, Registry, Series, is_short
from dapr_common.observe.tracing import (
    Kind,
    RecordedSpan,
    SpanContext,
    Tracer,
    current_span,
    parse_grpc_trace_bin,
    parse_traceparent,
    validate_baggage,
)
from dapr_sidecar.telemetry.error_codes import category
from dapr_sidecar.telemetry.spans import describe_grpc, describe_grpc_request

_API = "/dapr.proto.runtime.v1.Dapr/"
_INVOKE = "/dapr.proto.runtime.v1.Dapr/InvokeService"
_INTERNAL = "/dapr.proto.internals."
_CALL_ACTOR = "/dapr.proto.internals.v1.ServiceInvocation/CallActor"
_WORKFLOW = "/TaskHubSidecarService/"
_LIMIT = 4096
_Bound = tuple[Series, HistogramSeries, HistogramSeries, HistogramSeries]


class GrpcServerTelemetry:
    """What a gRPC server's hooks report."""

    def __init__(
        self,
        tracer: Tracer,
        registry: Registry | None,
        bounds: tuple[float, ...],
        *,
        app_id: str = "",
        error_codes: bool = False,
    ) -> None:
        self._tracer = tracer
        self._app_id = app_id
        self.tracing = tracer.enabled
        self.metering = registry is not None
        self._bound: dict[tuple[str, GrpcCode], _Bound] = {}
        if registry is None:
            return
        prefix, method = "dapr_grpc_io_server_", ("grpc_server_method",)
        labels = (*method, "grpc_server_status")
        self._completed = registry.counter(f"{prefix}completed_rpcs", labels)
        self._latency = registry.histogram(f"{prefix}server_latency", labels, bounds=bounds)
        self._received = registry.histogram(
            f"{prefix}received_bytes_per_rpc", method, bounds=SIZE_BUCKETS
        )
        self._sent = registry.histogram(f"{prefix}sent_bytes_per_rpc", method, bounds=SIZE_BUCKETS)
        self._errors = (
            registry.counter("dapr_error_code_total", ("error_code", "category"))
            if error_codes
            else None
        )

    def start_span(self, context: Context) -> None:
        """Start the span of a call on the API's server and make it the current one.

        API calls, but for service invocation, tell the caller its identity in the response headers.
        """
        method = context.method
        span = self._tracer.start(method, self._kind(context), trace_parent(context))
        context.scratch["span"] = span
        current_span.set(span)
        if method.startswith(_API) and method != _INVOKE and span.context.valid:
            context.set_initial_metadata([("grpc-trace-bin", span.context.grpc_trace_bin)])

    def start_callee_span(self, context: Context, name: str = "") -> None:
        """Start the span of a call from another sidecar; without a name, of one that is proxied."""
        method = context.method
        if not name and method.startswith(_INTERNAL) and method != _CALL_ACTOR:
            return  # Whoever serves it starts one with a better name, if any.
        span = self._tracer.start(name or method, "SERVER", trace_parent(context))
        context.scratch["span"] = span
        current_span.set(span)

    def _kind(self, context: Context) -> Kind:
        method = context.method
        if method.startswith(_API):
            return "CLIENT"
        if method.startswith(_WORKFLOW):
            return "SERVER"
        target = context.get("dapr-callee-app-id") or context.get("dapr-app-id")
        return "SERVER" if target and target == self._app_id else "CLIENT"

    def traced(self, method: Method) -> Method:
        """A method whose span says what was asked for and what went wrong."""
        if not self.tracing or method.kind != "unary_unary":
            return method
        handler = method.handler

        async def handle(request: Any, context: Context) -> Any:
            span = context.scratch.get("span")
            if not isinstance(span, RecordedSpan):
                return await handler(request, context)
            describe_grpc_request(span, method.path, request)
            try:
                return await handler(request, context)
            except RpcError as error:
                span.fail(error.message)
                raise
            except Exception as error:
                span.fail(str(error))
                raise

        return replace(method, handler=handle)

    def finish(
        self, context: Context, code: GrpcCode, elapsed_ms: float, received: int, sent: int
    ) -> None:
        """Record one call."""
        span = context.scratch.get("span")
        if isinstance(span, RecordedSpan):
            describe_grpc(span, context)
            if code is not GrpcCode.OK:
                error = context.scratch.get("error")
                told = error.message if isinstance(error, RpcError) else ""
                span.fail(told or code.go_name)
            span.end()
        if self.metering:
            bound = self._bound.get((context.method, code))
            if bound is None:
                bound = self._bind(context.method, code)
            bound[0].value += 1
            bound[1].observe(elapsed_ms)
            bound[2].observe(received)
            bound[3].observe(sent)

    def count_error(self, error: DaprError) -> None:
        """Record an error code, when the configuration asks for it."""
        if self.metering and self._errors is not None:
            self._errors.at(error.code, category(error.code)).add()

    def _bind(self, method: str, code: GrpcCode) -> _Bound:
        if len(self._bound) >= _LIMIT:
            self._bound.clear()
        labels = (method, code.go_name)
        bound = (
            self._completed.at(*labels),
            self._latency.at(*labels),
            self._received.at(method),
            self._sent.at(method),
        )
        if is_short(labels):
            self._bound[method, code] = bound
        return bound


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


def bad_baggage(context: Context) -> str | None:
    """What to tell the caller (INVALID_ARGUMENT) about baggage that is none."""
    text = context.get("baggage")
    if not isinstance(text, str) or not text:
        return None
    wrong = validate_baggage(text)
    return None if wrong is None else f"invalid baggage header: {wrong}"
