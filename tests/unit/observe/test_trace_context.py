from __future__ import annotations

import pytest
from harness.spans import SpanList
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.observe.tracing import (
    NO_TRACEPARENT,
    SpanContext,
    Tracer,
    parse_grpc_trace_bin,
    parse_traceparent,
    valid_tracestate,
    validate_baggage,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
HEX = "0123456789abcdef"


def ids(length: int) -> st.SearchStrategy[str]:
    return st.text(HEX, min_size=length, max_size=length).filter(lambda text: text.strip("0"))


def parsed(text: str, state: str = "") -> SpanContext:
    found = parse_traceparent(text, state)
    assert found is not None
    return found


# --- traceparent --------------------------------------------------------------------------------


@given(ids(32), ids(16), st.integers(0, 255))
def test_a_traceparent_is_read_and_written(trace: str, span: str, flags: int) -> None:
    context = parsed(f"00-{trace}-{span}-{flags:02x}")
    assert (context.trace_id, context.span_id) == (trace, span)
    assert context.sampled == bool(flags & 1)
    assert context.traceparent == f"00-{trace}-{span}-{flags & 1:02x}"
    assert parsed(context.traceparent).traceparent == context.traceparent


@given(st.text())
def test_any_text_is_a_traceparent_or_none(text: str) -> None:
    found = parse_traceparent(text, text)
    assert found is None or found.valid


@pytest.mark.parametrize(
    "text",
    [
        "",
        PARENT + "-extra",
        PARENT + "\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"0g-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01extra",
    ],
)
def test_what_is_no_traceparent(text: str) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("version", ["01", "cc", "fe"])
def test_later_versions_may_have_more_parts(version: str) -> None:
    assert parsed(f"{version}-{TRACE}-{SPAN}-01").traceparent == PARENT
    assert parsed(f"{version}-{TRACE}-{SPAN}-01-what-else").traceparent == PARENT


# --- tracestate ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a=b", True),
        ("a=b,c=d", True),
        ("a=b , c=d", True),
        ("a=b,,c=d", True),
        ("tenant@vendor=1", True),
        ("0tenant@vendor=1", True),
        ("a=" + "v" * 256, True),
        (",".join(f"k{n}=v" for n in range(32)), True),
        ("", False),
        (",", False),
        ("a", False),
        ("a=", False),
        ("=b", False),
        ("A=b", False),
        ("0a=b", False),
        ("a=b,a=c", False),
        ("a=b=c", False),
        ("a=" + "v" * 257, False),
        ("a=b\x01", False),
        (",".join(f"k{n}=v" for n in range(33)), False),
        ("a=" + "v" * 255 + ",b=" + "v" * 255, False),
    ],
)
def test_tracestate(text: str, valid: bool) -> None:
    assert valid_tracestate(text) is valid
    assert parsed(PARENT, text).tracestate == (text if valid else "")


def test_a_bad_tracestate_does_not_cost_the_parent() -> None:
    assert parsed(PARENT, "no state").traceparent == PARENT


# --- grpc-trace-bin -----------------------------------------------------------------------------


@given(ids(32), ids(16), st.integers(0, 1))
def test_grpc_trace_bin_is_read_and_written(trace: str, span: str, flags: int) -> None:
    binary = SpanContext(trace, span, flags).grpc_trace_bin
    layout = b"\0\0" + bytes.fromhex(trace) + b"\1" + bytes.fromhex(span) + b"\2" + bytes([flags])
    assert binary == layout
    found = parse_grpc_trace_bin(binary)
    assert found is not None
    assert (found.trace_id, found.span_id, found.flags) == (trace, span, flags)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_grpc_trace_bin_or_none(value: bytes) -> None:
    found = parse_grpc_trace_bin(value)
    assert found is None or len(value) == 29


@pytest.mark.parametrize(
    "value",
    [
        SpanContext("0" * 32, SPAN).grpc_trace_bin,
        SpanContext(TRACE, "0" * 16).grpc_trace_bin,
        SpanContext(TRACE, SPAN).grpc_trace_bin[:-1],
        b"\1" + SpanContext(TRACE, SPAN).grpc_trace_bin[1:],
    ],
)
def test_what_is_no_grpc_trace_bin(value: bytes) -> None:
    assert parse_grpc_trace_bin(value) is None


# --- baggage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["k=v", "k=v,l=w", " k = v ", "k=", "k=v;p", "k=v;p=1;q=2", "k=a%20b", "k=a=b", "a1!#=v"],
)
def test_baggage(text: str) -> None:
    assert validate_baggage(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "k",
        "=v",
        "k=v,",
        "k v=1",
        "k=a b",
        'k="v"',
        "k=v;",
        "k=v;p q=1",
        "k=v;p=a b",
        "k=\xe4",
        "k=a\nb",
        "k=" + "v" * 8192,
    ],
)
def test_what_is_no_baggage(text: str) -> None:
    wrong = validate_baggage(text)
    assert wrong is not None
    assert "\n" not in wrong


@given(st.text())
def test_any_text_is_baggage_or_not(text: str) -> None:
    wrong = validate_baggage(text)
    assert wrong is None or wrong


# --- spans --------------------------------------------------------------------------------------


def test_a_parents_flag_decides() -> None:
    spans = SpanList()
    tracer = Tracer(0.0000001, spans)
    tracer.start("a", "SERVER", parsed(PARENT, "a=b")).end()
    tracer.start("b", "SERVER", parsed(PARENT[:-1] + "0")).end()
    [span] = spans
    assert (span.name, span.kind, span.parent_id) == ("a", "SERVER", SPAN)
    assert span.context.trace_id == TRACE
    assert span.context.span_id != SPAN
    assert span.context.tracestate == "a=b"
    assert 0 < span.start_ns <= span.end_ns


def test_an_unsampled_parent_still_gets_new_span_ids() -> None:
    span = Tracer(1, SpanList()).start("a", "CLIENT", parsed(PARENT[:-1] + "0"))
    assert not span.recording
    assert span.context.traceparent.startswith(f"00-{TRACE}-")
    assert span.context.traceparent.endswith("-00")
    assert span.context.span_id != SPAN


@given(st.floats(0.001, 1), st.integers(1, 2**128 - 1))
def test_the_ratio_decides_on_roots_by_the_trace_id(rate: float, trace: int) -> None:
    bits = {64: 1, 128: trace}
    span = Tracer(rate, SpanList(), bits.__getitem__).start("a", "CLIENT")
    # As every OpenTelemetry SDK does it, so that two sidecars agree on a trace.
    assert span.recording is (((trace & (2**64 - 1)) >> 1) < int(rate * 2**63))
    assert span.context.sampled is span.recording


def test_a_rate_of_one_records_every_root_and_ids_are_new() -> None:
    spans = SpanList()
    tracer = Tracer(1, spans)
    for _ in range(50):
        tracer.start("a", "CLIENT").end()
    assert len({span.context.trace_id for span in spans}) == 50
    assert len({span.context.span_id for span in spans}) == 50
    assert all(span.parent_id == "" for span in spans)


def test_random_zeros_are_no_ids() -> None:
    span = Tracer(1, SpanList(), lambda bits: 0).start("a", "CLIENT")
    assert parse_traceparent(span.context.traceparent) is not None


def test_without_a_sink_a_context_goes_on_as_it_came() -> None:
    tracer = Tracer(1)
    assert tracer.start("a", "CLIENT", parsed(PARENT)).context.traceparent == PARENT
    root = tracer.start("a", "CLIENT")
    assert root.context.traceparent == NO_TRACEPARENT
    assert not root.context.valid
    root.fail("x")
    root.set("a", "b")
    root.event("c")
    root.end()
    assert tracer.start("b", "SERVER") is root


def test_what_a_recorded_span_keeps() -> None:
    spans = SpanList()
    span = Tracer(1, spans).start("a", "CLIENT")
    span.set("key", "value")
    span.set("empty", "")
    span.event("happened")
    span.fail("first")
    span.fail("second")
    span.end()
    span.end()
    [kept] = spans
    assert kept.attributes == {"key": "value"}
    assert [name for _, name in kept.events] == ["happened"]
    assert (kept.failed, kept.error) == (True, "first")


@pytest.mark.parametrize(("rate", "enabled"), [(0, False), (-1, False), (0.0001, True), (7, True)])
def test_when_tracing_is_on(rate: float, enabled: bool) -> None:
    assert Tracer(rate).enabled is enabled
