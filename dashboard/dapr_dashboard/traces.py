"""Spans as Zipkin's exporters send them, the last ones kept in memory. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dapr_dashboard import masking

_MOST_TRACES = 200
_MOST_SPANS = 200
_MOST_TEXT = 200
_MOST_US = 1 << 57  # some thousand years: later ones are no dates
_STATUS = ("http.status_code", "rpc.grpc.status_code", "grpc.status_code", "otel.status_code")


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Times in microseconds, the start since 1970."""

    id: str
    parent: str
    service: str
    name: str
    kind: str
    start_us: int
    duration_us: int
    status: str = ""
    error: bool = False


@dataclass(slots=True)
class Trace:
    """The spans of one trace as far as they have come."""

    id: str
    spans: dict[tuple[str, str], Span] = field(default_factory=dict)

    @property
    def start_us(self) -> int:
        return min(span.start_us for span in self.spans.values())

    @property
    def duration_us(self) -> int:
        ends = (span.start_us + span.duration_us for span in self.spans.values())
        return max(ends) - self.start_us

    @property
    def services(self) -> list[str]:
        return sorted({span.service for span in self.spans.values() if span.service})

    @property
    def root(self) -> Span:
        """The first span without a known parent."""
        return self.ordered()[0][1]

    @property
    def failed(self) -> bool:
        return any(span.error for span in self.spans.values())

    def ordered(self) -> list[tuple[int, Span]]:
        """Parents before their children, each with its depth."""
        ids = {span.id for span in self.spans.values()}
        children: dict[str, list[Span]] = {}
        for span in sorted(self.spans.values(), key=lambda one: (one.start_us, -one.duration_us)):
            # Both sides of a call may share one id: the server's is the client's child.
            if span.kind == "SERVER" and (span.id, "CLIENT") in self.spans:
                parent = f"{span.id}/client"
            else:
                parent = span.parent if span.parent in ids and span.parent != span.id else ""
            children.setdefault(parent, []).append(span)
        found: list[tuple[int, Span]] = []
        seen: set[tuple[str, str]] = set()
        stack = [(0, span) for span in reversed(children.get("", ()))]
        while stack:
            depth, span = stack.pop()
            if (span.id, span.kind) in seen:
                continue
            seen.add((span.id, span.kind))
            found.append((depth, span))
            below = children.get(f"{span.id}/client", []) if span.kind == "CLIENT" else []
            if not below:
                below = children.get(span.id, [])
            stack += [(depth + 1, child) for child in reversed(below)]
        left = [span for key, span in self.spans.items() if key not in seen]
        return found + [(0, span) for span in left]  # a circle of parents


class Traces:
    """The last traces; the one that got a span last is the newest."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    def add(self, spans: Iterable[Any]) -> int:
        """Keep what is a span; returns how many were. Raises ``ValueError`` when one is not."""
        count = 0
        for body in spans:
            trace_id, span = _read(body)
            trace = self._traces.setdefault(trace_id, Trace(trace_id))
            self._traces.move_to_end(trace_id)
            if len(trace.spans) < _MOST_SPANS:
                trace.spans[span.id, span.kind] = span
            while len(self._traces) > _MOST_TRACES:
                self._traces.popitem(last=False)
            count += 1
        return count

    def last(self) -> list[Trace]:
        """The newest first."""
        return list(reversed(self._traces.values()))

    def get(self, trace_id: str) -> Trace | None:
        return self._traces.get(trace_id)


def _read(body: Any) -> tuple[str, Span]:
    if not isinstance(body, Mapping):
        raise ValueError("a span is a JSON object")
    trace_id, span_id = _text(body, "traceId"), _text(body, "id")
    if not trace_id or not span_id:
        raise ValueError("a span needs traceId and id")
    endpoint = body.get("localEndpoint")
    tags = body.get("tags")
    tags = tags if isinstance(tags, Mapping) else {}
    status = next((str(tags[name]) for name in _STATUS if tags.get(name)), "")
    return trace_id, Span(
        span_id,
        _text(body, "parentId"),
        _text(endpoint, "serviceName") if isinstance(endpoint, Mapping) else "",
        _text(body, "name"),
        _text(body, "kind"),
        _number(body, "timestamp"),
        _number(body, "duration"),
        masking.text(status[:_MOST_TEXT]),
        "error" in tags or (status.isdigit() and len(status) == 3 and status >= "500"),
    )


def _text(body: Mapping[str, Any], name: str) -> str:
    return masking.text(str(body.get(name) or "")[:_MOST_TEXT])


def _number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_US:
        raise ValueError(f"{name} of a span is a number of microseconds")
    return int(value)
