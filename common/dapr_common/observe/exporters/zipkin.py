"""Zipkin's JSON, version 2."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dapr_common.observe.exporters.base import SCOPE, shown_url
from dapr_common.observe.exporters.http_post import HttpPost
from dapr_common.observe.tracing import RecordedSpan


class ZipkinExporter:
    """Posts spans to a Zipkin collector's URL."""

    def __init__(self, url: str, resource: Mapping[str, str]) -> None:
        """Raises ``ValueError`` for a URL that is none."""
        self.name = f"zipkin {shown_url(url)}"
        self._resource = dict(resource)
        self._post = HttpPost(url, [(b"Content-Type", b"application/json")])

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Send spans."""
        await self._post.post(encode(spans, self._resource))

    async def close(self) -> None:
        """Close the connections."""
        await self._post.close()


def encode(spans: Sequence[RecordedSpan], resource: Mapping[str, str]) -> bytes:
    """Spans as a JSON array."""
    return json.dumps([_span(span, resource) for span in spans], separators=(",", ":")).encode()


def _span(span: RecordedSpan, resource: Mapping[str, str]) -> dict[str, Any]:
    tags = {**resource, **span.attributes, "otel.scope.name": SCOPE}
    if span.failed:
        tags["error"] = span.error
        tags["otel.status_code"] = "ERROR"
    shown: dict[str, Any] = {
        "traceId": span.context.trace_id,
        "id": span.context.span_id,
        "name": span.name.lower(),
        "timestamp": span.start_ns // 1000,
        "duration": max((span.end_ns - span.start_ns) // 1000, 1),
        "localEndpoint": {"serviceName": resource.get("service.name", "")},
        "tags": tags,
    }
    if span.parent_id:
        shown["parentId"] = span.parent_id
    if span.kind != "INTERNAL":
        shown["kind"] = span.kind
    if peer := span.attributes.get("server.address"):
        shown["remoteEndpoint"] = {"serviceName": peer}
    if span.events:
        shown["annotations"] = [
            {"timestamp": at // 1000, "value": what} for at, what in span.events
        ]
    return shown
