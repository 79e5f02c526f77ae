"""Spans and metrics of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any

from dapr_common.errors import DaprError
from dapr_common.http.messages import Header, Request, Response
from dapr_common.observe.metrics import (
    LONGEST_VALUE,
    SIZE_BUCKETS,
    HistogramSeries,
    Registry,
    Series,
)
from dapr_common.observe.tracing import (
    NO_CONTEXT,
    NO_TRACEPARENT,
    RecordedSpan,
    Span,
    SpanContext,
    Tracer,
    current_span,
    parse_traceparent,
    validate_baggage,
)
from dapr_sidecar.telemetry.counted_body import CountedBody
from dapr_sidecar.telemetry.error_codes import category
from dapr_sidecar.telemetry.paths import PathLabels
from dapr_sidecar.telemetry.spans import describe_http

_HEALTH = b"/healthz"
_NO_TRACE: Header = (b"Traceparent", NO_TRACEPARENT.encode())
_CACHE_LIMIT = 8192

_Bound = tuple[Series, HistogramSeries, HistogramSeries, HistogramSeries, Series | None]


class HttpServerTelemetry:
    """What the API pipeline reports, with the fewest possible steps per request."""

    def __init__(
        self,
        tracer: Tracer,
        registry: Registry | None,
        bounds: tuple[float, ...],
        http: Mapping[str, Any],
        *,
        error_codes: bool = False,
    ) -> None:
        self._tracer = tracer
        self.tracing = tracer.enabled
        self.metering = registry is not None
        self._paths = PathLabels(http)
        self._bound: dict[tuple[str, bytes, int], _Bound] = {}
        if registry is None:
            return
        labels = ("method", "path", "status")
        prefix = "dapr_http_server_"
        self._requests = registry.counter(f"{prefix}request_count", labels)
        self._latency = registry.histogram(f"{prefix}latency", labels, bounds=bounds)
        self._request_bytes = registry.histogram(f"{prefix}request_bytes", bounds=SIZE_BUCKETS)
        self._response_bytes = registry.histogram(f"{prefix}response_bytes", bounds=SIZE_BUCKETS)
        self._responses = (
            registry.counter(f"{prefix}response_count", labels) if self._paths.increased else None
        )
        self._errors = (
            registry.counter("dapr_error_code_total", ("error_code", "category"))
            if error_codes
            else None
        )

    def bad_baggage(self, header: bytes) -> str | None:
        """What to tell the caller (status 400) about a baggage header that is none."""
        wrong = validate_baggage(header.decode("latin-1"))
        return None if wrong is None else f"invalid baggage header: {wrong}"

    def start_span(self, request: Request) -> Span | None:
        """Start the span of an API call and make it the current one."""
        if request.path.find(_HEALTH) >= 0:
            return None
        parent: SpanContext | None = None
        header = request.header(b"traceparent")
        if header is not None:
            state = request.header(b"tracestate") or b""
            parent = parse_traceparent(header.decode("latin-1"), state.decode("latin-1"))
        span = self._tracer.start("", "CLIENT", parent)
        current_span.set(span)
        return span

    def end_span(
        self, span: Span, request: Request, response: Response, baggage: bytes | None
    ) -> None:
        """Finish the span, of a stream at its end; the caller learns its identity from the head."""
        headers = response.headers
        context = span.context
        if not _has(headers, b"traceparent"):
            if context is NO_CONTEXT:
                headers.append(_NO_TRACE)
            else:
                headers.append((b"Traceparent", context.traceparent.encode()))
            if context.tracestate:
                headers.append((b"Tracestate", context.tracestate.encode("latin-1")))
        if baggage and not _has(headers, b"baggage"):
            headers.append((b"Baggage", baggage))
        if isinstance(span, RecordedSpan):
            describe_http(span, request, response.status)
            if response.status >= 400:
                span.fail(f"Code({response.status}): {_phrase(response.status)}")
            body = response.body
            if isinstance(body, bytes):
                span.end()
            else:
                response.body = CountedBody(body, lambda _size: span.end())

    def count(self, request: Request, response: Response, started: float) -> None:
        """Record one call that began at ``started`` (``perf_counter``), streams at their end."""
        body = response.body
        if isinstance(body, bytes):
            self._record(request, response.status, len(body), started)
            return

        def done(size: int) -> None:
            self._record(request, response.status, size, started)

        response.body = CountedBody(body, done)

    def _record(self, request: Request, status: int, size: int, started: float) -> None:
        key = (request.method, self._paths.key(request.path), status)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bind(key)
        bound[0].value += 1
        bound[1].observe((perf_counter() - started) * 1000)
        bound[2].observe(request.content_length or 0)
        bound[3].observe(size)
        if bound[4] is not None:
            bound[4].value += 1

    def count_error(self, error: DaprError) -> None:
        """Record an error code, when the configuration asks for it."""
        if self.metering and self._errors is not None:
            self._errors.at(error.code, category(error.code)).add()

    def _bind(self, key: tuple[str, bytes, int]) -> _Bound:
        method, path, status = key
        labels = (
            self._paths.method(method),
            self._paths.server(path.decode("utf-8", "replace")),
            str(status),
        )
        if len(self._bound) >= _CACHE_LIMIT:
            self._bound.clear()
        bound = (
            self._requests.at(*labels),
            self._latency.at(*labels),
            self._request_bytes.at(),
            self._response_bytes.at(),
            self._responses.at(*labels) if self._responses is not None else None,
        )
        if len(path) <= LONGEST_VALUE:
            self._bound[key] = bound
        return bound


def _has(headers: list[Header], name: bytes) -> bool:
    size = len(name)
    for given, _ in headers:  # noqa: SIM110 - a third of the time of any()
        if len(given) == size and given.lower() == name:
            return True
    return False


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
