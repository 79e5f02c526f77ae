"""Where spans go in tests."""

from __future__ import annotations

from dapr_common.observe.tracing import Span


class SpanList(list[Span]):
    """Implements ``SpanSink``: keeps what was recorded, in the order it ended."""

    def add(self, span: Span) -> None:
        self.append(span)
