"""OpenTelemetry's own protocol, over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dapr_common.observe.exporters.base import SCOPE, ExportError, shown_url
from dapr_common.observe.exporters.http_post import HttpPost
from dapr_common.observe.tracing import RecordedSpan

if TYPE_CHECKING:
    from dapr_common.grpc.client import GrpcChannel

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PATH = "/v1/traces"
_KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_HTTPS_PORT = 443
# Cancelled, DeadlineExceeded, ResourceExhausted, Aborted, OutOfRange, Unavailable, DataLoss.
_TRANSIENT = frozenset({1, 4, 8, 10, 11, 14, 15})


class OtlpHttpExporter:
    """Posts spans to a collector."""

    def __init__(
        self,
        endpoint: str,
        resource: Mapping[str, str],
        *,
        secure: bool = True,
        headers: Sequence[tuple[str, str]] = (),
        timeout: float = 10.0,
    ) -> None:
        """Raises ``ValueError`` for an endpoint that is none."""
        url = http_url(endpoint, secure=secure)
        self.name = f"otlp {shown_url(url)}"
        self._resource = dict(resource)
        self._timeout = timeout
        given = [(name.encode(), value.encode()) for name, value in headers]
        self._post = HttpPost(url, [(b"Content-Type", b"application/x-protobuf"), *given])

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Send spans."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._post.post(encode(spans, self._resource))
        except TimeoutError:
            raise ExportError("no answer in time", transient=True) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._post.close()


class OtlpGrpcExporter:
    """Calls a collector's ``TraceService``."""

    def __init__(
        self,
        endpoint: str,
        resource: Mapping[str, str],
        *,
        secure: bool = True,
        headers: Sequence[tuple[str, str]] = (),
        timeout: float = 10.0,
    ) -> None:
        """Raises ``ValueError`` for an endpoint that is none."""
        self._target = grpc_target(endpoint)
        self.name = f"otlp {self._target}"
        self._secure = secure
        self._resource = dict(resource)
        self._timeout = timeout
        self._metadata = [(name.lower(), value) for name, value in headers]
        self._channel: GrpcChannel | None = None

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Send spans."""
        from dapr_common.grpc.errors import RpcError

        body = encode(spans, self._resource)
        try:
            await self._connected().unary(
                _EXPORT, body, metadata=self._metadata, timeout=self._timeout
            )
        except RpcError as error:
            raise ExportError(str(error), transient=int(error.code) in _TRANSIENT) from error

    def _connected(self) -> GrpcChannel:
        if self._channel is None:
            from dapr_common.grpc.client import GrpcChannel

            context = ssl.create_default_context() if self._secure else None
            self._channel = GrpcChannel(self._target, ssl=context)
        return self._channel

    async def close(self) -> None:
        """Close the connections."""
        if self._channel is not None:
            await self._channel.close()


def http_url(endpoint: str, *, secure: bool) -> str:
    """The URL to post to; an endpoint is ``host:port``, with or without a path."""
    base = endpoint.rstrip("/")
    url = f"{'https' if secure else 'http'}://{base}"
    return url if urlsplit(url).path.endswith(_PATH) else url + _PATH


def grpc_target(endpoint: str) -> str:
    """``host:port`` of an endpoint. Raises ``ValueError``."""
    parts = urlsplit(f"//{endpoint}")
    if not parts.hostname:
        raise ValueError(f'invalid endpoint "{endpoint}": expected host:port')
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _HTTPS_PORT}"


def encode(spans: Sequence[RecordedSpan], resource: Mapping[str, str]) -> bytes:
    """Spans as a serialised ``ExportTraceServiceRequest``."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Status

    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in resource.items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = SCOPE
    for span in spans:
        context = span.context
        shown = scope_spans.spans.add(
            trace_id=bytes.fromhex(context.trace_id),
            span_id=bytes.fromhex(context.span_id),
            parent_span_id=bytes.fromhex(span.parent_id),
            trace_state=context.tracestate,
            flags=context.flags,
            name=span.name,
            kind=_KINDS[span.kind],
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
        )
        for key, value in span.attributes.items():
            shown.attributes.add(key=key).value.string_value = value
        for at, what in span.events:
            shown.events.add(time_unix_nano=at, name=what)
        if span.failed:
            shown.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=span.error))
    return bytes(request.SerializeToString())
