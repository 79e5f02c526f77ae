"""Spans as log lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import RecordedSpan

_LOG = get_logger("dapr.runtime.trace")


class StdoutExporter:
    """Writes one log line for each span."""

    name = "stdout"

    async def export(self, spans: Sequence[RecordedSpan]) -> None:
        """Write the lines."""
        for span in spans:
            _LOG.info("%s", line(span))

    async def close(self) -> None:
        """There is nothing to close."""


def line(span: RecordedSpan) -> str:
    """One span in Dapr's words."""
    parent = span.parent_id or "0" * 16
    return (
        f"[{span.name}] Trace: {span.context.trace_id} Span: {parent}/{span.context.span_id} "
        f"Time: [{_time(span.start_ns)} ->  {_time(span.end_ns)}] Annotations: []"
    )


def _time(nanos: int) -> str:
    """As Go prints a time: nine digits at most, without trailing zeros."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"
