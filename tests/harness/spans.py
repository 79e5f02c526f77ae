"""Where spans go in tests."""

from __future__ import annotations

from dapr_common.observe.tracing import RecordedSpan, SpanContext, Tracer


class SpanList(list[RecordedSpan]):
    """Implements ``SpanSink``: keeps what was recorded, in the order it ended."""

    def add(self, span: RecordedSpan) -> None:
        self.append(span)


def finished_spans() -> list[RecordedSpan]:
    """A child with attributes, an event and an error, then its parent, a root."""
    spans = SpanList()
    tracer = Tracer(1, spans)
    root = tracer.start("/v1.0/State/St", "CLIENT")
    state = SpanContext(root.context.trace_id, root.context.span_id, 1, "a=b")
    child = tracer.start("CallLocal/A1/M", "SERVER", state)
    child.set("server.address", "10.0.0.1")
    child.set("dapr.api", "GET /v1.0/State/St")
    child.event("resiliency.retry")
    child.fail("Code(404): Not Found")
    child.end()
    root.end()
    return spans
