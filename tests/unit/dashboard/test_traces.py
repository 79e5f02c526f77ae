"""Spans in, traces in the order of their calls out, whatever is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dapr_dashboard.traces import Traces


def span(trace: str, own: str, parent: str = "", **more: Any) -> dict[str, Any]:
    body = {"traceId": trace, "id": own, "name": own, "timestamp": 10, "duration": 5}
    return {**body, **({"parentId": parent} if parent else {}), **more}


def names(traces: Traces, trace: str) -> list[tuple[int, str]]:
    found = traces.get(trace)
    assert found is not None
    return [(depth, each.name) for depth, each in found.ordered()]


def test_children_follow_their_parents_in_time() -> None:
    traces = Traces()
    traces.add([span("t", "c", "a", timestamp=30), span("t", "b", "a", timestamp=20)])
    traces.add([span("t", "a", timestamp=10, duration=100), span("t", "d", "b", timestamp=21)])
    assert names(traces, "t") == [(0, "a"), (1, "b"), (2, "d"), (1, "c")]


def test_both_sides_of_a_call_may_share_an_id() -> None:
    traces = Traces()
    traces.add(
        [
            span("t", "a", kind="CLIENT", name="ask"),
            span("t", "a", kind="SERVER", name="answer", timestamp=11),
            span("t", "b", "a", name="below", timestamp=12),
        ]
    )
    assert {name for _, name in names(traces, "t")} == {"ask", "answer", "below"}


def test_a_circle_of_parents_ends() -> None:
    traces = Traces()
    traces.add([span("t", "a", "b"), span("t", "b", "a"), span("t", "c", "c")])
    assert len(names(traces, "t")) == 3


def test_memory_is_bounded() -> None:
    traces = Traces()
    traces.add(span(f"t{number}", "a") for number in range(500))
    assert [trace.id for trace in traces.last()][:2] == ["t499", "t498"]
    assert len(traces.last()) == 200
    traces.add(span("big", str(number)) for number in range(500))
    assert len(names(traces, "big")) == 200
    traces.add([span("t", "x" * 5000)])
    assert len(names(traces, "t")[0][1]) == 200


@pytest.mark.parametrize(
    ("tags", "failed"),
    [
        ({"error": "boom"}, True),
        ({"http.status_code": "503"}, True),
        ({"http.status_code": "404"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_failures(tags: object, failed: bool) -> None:
    traces = Traces()
    traces.add([span("t", "a", tags=tags)])
    (found,) = traces.last()
    assert found.failed is failed


@pytest.mark.parametrize(
    "body",
    [
        1,
        [],
        {"id": "a"},
        {"traceId": "t"},
        span("t", "a", timestamp="x"),
        span("t", "a", duration=-1),
    ],
)
def test_what_is_no_span(body: object) -> None:
    with pytest.raises(ValueError, match="span"):
        Traces().add([body])


def test_spans_hold_no_secrets_and_no_dates_that_are_none() -> None:
    """One span that cannot be shown would spoil the page of all."""
    traces = Traces()
    traces.add([span("t", "a", name="GET http://me:topsecret@host/?api_key=topsecret")])
    (shown,) = [name for _, name in names(traces, "t")]
    assert "topsecret" not in shown
    for timestamp in (1 << 58, float("nan"), float("inf"), -1):
        with pytest.raises(ValueError, match="microseconds"):
            traces.add([span("t", "b", timestamp=timestamp)])
    assert datetime.fromtimestamp(((1 << 57) - 1) / 1e6, UTC).year > 6000
