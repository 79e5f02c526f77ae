from __future__ import annotations

import logging

import pytest
from harness.spans import finished_spans

from dapr_common.observe.exporters.stdout import StdoutExporter, line


async def test_one_line_for_each_span(caplog: pytest.LogCaptureFixture) -> None:
    child, root = finished_spans()
    child.start_ns, child.end_ns = 1_700_000_000_123_456_789, 1_700_000_001_500_000_000
    root.start_ns = root.end_ns = 1_700_000_000_000_000_000
    exporter = StdoutExporter()
    with caplog.at_level(logging.INFO, "dapr.runtime.trace"):
        await exporter.export([child, root])
    await exporter.close()
    trace, parent = root.context.trace_id, root.context.span_id
    assert caplog.messages == [
        (
            f"[CallLocal/A1/M] Trace: {trace} Span: {parent}/{child.context.span_id} "
            "Time: [2023-11-14 22:13:20.123456789 +0000 UTC ->  2023-11-14 22:13:21.5 +0000 UTC] "
            "Annotations: []"
        ),
        (
            f"[/v1.0/State/St] Trace: {trace} Span: 0000000000000000/{parent} "
            "Time: [2023-11-14 22:13:20 +0000 UTC ->  2023-11-14 22:13:20 +0000 UTC] "
            "Annotations: []"
        ),
    ]
    assert caplog.records[0].name == "dapr.runtime.trace"


def test_a_percent_sign_in_a_name_is_a_percent_sign(caplog: pytest.LogCaptureFixture) -> None:
    span = finished_spans()[0]
    span.name = "100%s"
    assert line(span).startswith("[100%s] Trace:")
