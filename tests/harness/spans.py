"""Where spans go in tests."""

from __future__ import annotations

from dapr_common.observe.tracing import RecordedSpan


class SpanList(list[RecordedSpan]):
    """Implements ``SpanSink``: keeps what was recorded, in the order it ended."""

    def add(self, span: RecordedSpan) -> None:
        self.append(span)
