"""Real trace collectors, and what each of them says it was sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends import Backend
from harness.http_call import call

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_SCOPE = "dapr-diagnostics"


@dataclass(frozen=True)
class Shown:
    """One span as a collector shows it; ``error`` is the description of a failure."""

    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    tags: Mapping[str, str]
    error: str = ""


class Collector:
    """A running backend and how daprd sends to it."""

    backend_name = ""
    lower_case = False
    """Whether the names of spans lose their case on the way."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def address(self) -> str:
        """``host:port`` of where spans go."""
        return self.backend.address

    def settings(self, address: str = "") -> dict[str, Any]:
        """What a Configuration's ``spec.tracing`` says, without the sampling rate.

        ``address`` is another one that leads there.
        """
        raise NotImplementedError

    def trace(self, trace_id: str) -> list[Shown]:
        """All spans of a trace; none when it does not know it."""
        raise NotImplementedError

    def wait(self, trace_id: str, count: int, seconds: float = 40.0) -> list[Shown]:
        """The spans of a trace once there are so many."""
        end = time.monotonic() + seconds
        while len(found := self.trace(trace_id)) < count:
            names = sorted(span.name for span in found)
            assert time.monotonic() < end, f"{len(found)} of {count} spans: {names}"
            time.sleep(0.1)
        return found


class Zipkin(Collector):
    """Zipkin's own server, asked by its version 2 API."""

    backend_name = "zipkin"
    lower_case = True

    def settings(self, address: str = "") -> dict[str, Any]:
        return {"zipkin": {"endpointAddress": f"http://{address or self.address}/api/v2/spans"}}

    def trace(self, trace_id: str) -> list[Shown]:
        answer = call(self.backend.port, "GET", f"/api/v2/trace/{trace_id}")
        return [_from_zipkin(span) for span in answer.json] if answer.status == 200 else []

    def links(self) -> set[tuple[str, str]]:
        """Which service called which."""
        now = round(time.time() * 1000) + 60_000
        path = f"/api/v2/dependencies?endTs={now}&lookback=3600000"
        found = call(self.backend.port, "GET", path).json
        return {(link["parent"], link["child"]) for link in found}

    def found(self, query: str) -> int:
        """How many traces a search finds."""
        return len(call(self.backend.port, "GET", f"/api/v2/traces?{query}").json)


class Otelcol(Collector):
    """The OpenTelemetry Collector, whose file exporter writes down what it took."""

    backend_name = "otelcol"
    protocol = "grpc"

    def settings(self, address: str = "") -> dict[str, Any]:
        return _otlp(self.protocol, address or self.address)

    def trace(self, trace_id: str) -> list[Shown]:
        file = Path(self.backend.facts["file"])
        text = file.read_text() if file.exists() else ""
        return [
            span
            for line in text.splitlines(keepends=True)
            if line.endswith("\n")  # the last one may be half written
            for span in _from_otlp(json.loads(line), trace_id)
        ]


class OtelcolHttp(Otelcol):
    """The same over HTTP."""

    protocol = "http"

    @property
    def address(self) -> str:
        return self.backend.facts["http"]


class Jaeger(Collector):
    """Jaeger, which takes OTLP and is asked by the API of its page."""

    backend_name = "jaeger"

    @property
    def address(self) -> str:
        return self.backend.facts["otlp_grpc"]

    def settings(self, address: str = "") -> dict[str, Any]:
        return _otlp("grpc", address or self.address)

    def trace(self, trace_id: str) -> list[Shown]:
        answer = call(self.backend.port, "GET", f"/api/traces/{trace_id}")
        if answer.status != 200:
            return []
        (trace,) = answer.json["data"]
        return [_from_jaeger(span, trace["processes"]) for span in trace["spans"]]


ALL: tuple[type[Collector], ...] = (Zipkin, Otelcol, OtelcolHttp, Jaeger)


def _otlp(protocol: str, address: str) -> dict[str, Any]:
    return {"otel": {"protocol": protocol, "endpointAddress": address, "isSecure": False}}


def _from_zipkin(span: Mapping[str, Any]) -> Shown:
    tags = dict(span["tags"])
    error = tags.pop("error", "")
    assert tags.pop("otel.scope.name") == _SCOPE
    assert tags.pop("service.name") == span["localEndpoint"]["serviceName"]
    assert bool(error) == (tags.pop("otel.status_code", "") == "ERROR")
    if address := tags.get("server.address"):
        # Zipkin reads an address where it is given as the name of a service.
        assert address in span["remoteEndpoint"].values()
    return Shown(
        span["id"],
        span.get("parentId", ""),
        span["name"],
        span["kind"].lower(),
        span["localEndpoint"]["serviceName"],
        tags,
        error,
    )


def _from_otlp(line: Mapping[str, Any], trace_id: str) -> Iterable[Shown]:
    for resource in line["resourceSpans"]:
        service = _values(resource["resource"]["attributes"])["service.name"]
        for scope in resource["scopeSpans"]:
            assert scope["scope"]["name"] == _SCOPE
            for span in scope["spans"]:
                if span["traceId"] == trace_id:
                    yield Shown(
                        span["spanId"],
                        span.get("parentSpanId", ""),
                        span["name"],
                        _KINDS[span["kind"]],
                        service,
                        _values(span.get("attributes", [])),
                        span.get("status", {}).get("message", ""),
                    )


def _from_jaeger(span: Mapping[str, Any], processes: Mapping[str, Any]) -> Shown:
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    kind = tags.pop("span.kind")
    assert tags.pop("otel.scope.name") == _SCOPE
    tags.pop("internal.span.format", None)
    failed, error = tags.pop("error", False), tags.pop("otel.status_description", "")
    assert bool(failed) == (tags.pop("otel.status_code", "") == "ERROR") == bool(error)
    parents = [r["spanID"] for r in span["references"] if r["refType"] == "CHILD_OF"]
    return Shown(
        span["spanID"],
        parents[0] if parents else "",
        span["operationName"],
        kind,
        processes[span["processID"]]["serviceName"],
        tags,
        error,
    )


def _values(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {pair["key"]: pair["value"]["stringValue"] for pair in attributes}
