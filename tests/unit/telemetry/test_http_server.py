from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from harness.prometheus_text import labels, samples
from harness.spans import SpanList

from dapr_common.errors import DaprError
from dapr_common.http.messages import Header, Request, Response
from dapr_common.observe.metrics import LATENCY_BUCKETS, Registry
from dapr_common.observe.tracing import NO_TRACEPARENT, RecordedSpan, Tracer, current_span
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()


def request(
    target: str = "/v1.0/state/st/a", *headers: Header, method: str = "GET", size: int | None = 0
) -> Request:
    path, _, query = target.encode().partition(b"?")
    peer = "10.0.0.7:4711"
    return Request(method, path, query, [*headers], content_length=size, peer=peer)


def telemetry(
    tracer: Tracer, registry: Registry | None = None, **http: object
) -> HttpServerTelemetry:
    return HttpServerTelemetry(tracer, registry, LATENCY_BUCKETS, http)


def traced(
    asked: Request, tracer: Tracer, status: int = 200, *headers: Header
) -> dict[bytes, bytes]:
    """The response's headers."""
    served = telemetry(tracer)
    span = served.start_span(asked)
    assert span is not None
    assert current_span.get() is span
    response = Response(status, [*headers])
    served.end_span(span, asked, response, asked.header(b"baggage"))
    return dict(response.headers)


def span_of(asked: Request, status: int = 200) -> RecordedSpan:
    spans = SpanList()
    traced(asked, Tracer(1, spans), status)
    [span] = spans
    return span


# --- headers ------------------------------------------------------------------------------------


def test_the_caller_learns_the_span() -> None:
    spans = SpanList()
    asked = request("/x", (b"traceparent", TRACEPARENT), (b"tracestate", b"a=b"))
    headers = traced(asked, Tracer(1, spans))
    [span] = spans
    assert span.parent_id == PARENT
    assert headers == {
        b"Traceparent": f"00-{TRACE}-{span.context.span_id}-01".encode(),
        b"Tracestate": b"a=b",
    }


def test_an_unsampled_trace_goes_on_with_a_new_span() -> None:
    spans = SpanList()
    asked = request("/x", (b"traceparent", TRACEPARENT[:-1] + b"0"))
    answer = traced(asked, Tracer(1, spans))[b"Traceparent"].decode()
    assert answer.startswith(f"00-{TRACE}-")
    assert answer.endswith("-00")
    assert PARENT not in answer
    assert spans == []


def test_where_nothing_takes_spans_the_context_is_what_came() -> None:
    assert traced(request("/x"), Tracer(1)) == {b"Traceparent": NO_TRACEPARENT.encode()}
    asked = request("/x", (b"traceparent", TRACEPARENT))
    assert traced(asked, Tracer(1)) == {b"Traceparent": TRACEPARENT}


def test_headers_that_are_there_stay() -> None:
    given = [(b"traceparent", b"own"), (b"BAGGAGE", b"own")]
    asked = request("/x", (b"baggage", b"k=v"))
    assert traced(asked, Tracer(1), 200, *given) == dict(given)


def test_baggage_is_echoed() -> None:
    assert traced(request("/x", (b"baggage", b"k=v")), Tracer(1))[b"Baggage"] == b"k=v"


async def test_the_span_of_a_stream_ends_with_it() -> None:
    spans = SpanList()
    served = telemetry(Tracer(1, spans))
    asked = request("/x")
    span = served.start_span(asked)
    assert span is not None

    async def body() -> AsyncIterator[bytes]:
        yield b"piece"

    response = Response(200, [], body())
    served.end_span(span, asked, response, None)
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"piece"]
    assert spans == []
    await response.body.aclose()  # type: ignore[attr-defined]
    assert spans == [span]


@pytest.mark.parametrize("path", ["/v1.0/healthz", "/v1.0/healthz/outbound"])
def test_health_has_no_span(path: str) -> None:
    assert telemetry(Tracer(1, SpanList())).start_span(request(path)) is None


def test_bad_baggage_is_told() -> None:
    served = telemetry(Tracer(1))
    assert served.bad_baggage(b"k=v") is None
    wrong = served.bad_baggage(b"nothing")
    assert wrong is not None
    assert wrong.startswith("invalid baggage header: ")


def test_a_rate_of_zero_needs_no_work() -> None:
    assert not telemetry(Tracer(0)).tracing
    assert not telemetry(Tracer(0)).metering


# --- names and attributes -----------------------------------------------------------------------


def test_what_every_call_says() -> None:
    span = span_of(request("/v1.0/metadata?a=b%20c", method="PUT"))
    assert (span.name, span.kind) == ("/v1.0/metadata", "CLIENT")
    assert span.attributes == {
        "dapr.api": "PUT /v1.0/metadata",
        "dapr.protocol": "http",
        "dapr.status_code": "200",
        "http.request.method": "PUT",
        "url.full": "/v1.0/metadata?a=b%20c",
        "server.address": "10.0.0.7",
        "server.port": "4711",
    }


def db(system: str, name: str, statement: str) -> dict[str, str]:
    return {
        "db.system": system,
        "db.name": name,
        "db.statement": statement,
        "db.connection_string": system,
    }


SERVICE = {"rpc.service": "ServiceInvocation"}


@pytest.mark.parametrize(
    ("path", "name", "more"),
    [
        ("/v1.0/invoke/a2/method/x/y", "CallLocal/a2/x/y", SERVICE | {"net.peer.name": "a2"}),
        (
            "/v1.0/invoke/http://h:1/method/x",
            "CallLocal/http://h:1/x",
            SERVICE | {"net.peer.name": "http://h:1"},
        ),
        (
            "/v1.0/actors/T/1/method/m",
            "CallActor/T/m",
            SERVICE | {"net.peer.name": "T.1", "dapr.actor": "T.1"},
        ),
        (
            "/v1.0/actors/T/1/state",
            "",
            {"dapr.actor": "T.1"} | db("state", "actor", "GET /v1.0/actors/T/1/state"),
        ),
        ("/v1.0/actors/T/1/reminders/r", "", {"dapr.actor": "T.1"}),
        (
            "/v1.0/state/st/a",
            "",
            db("state", "st", "GET /v1.0/state/st/a"),
        ),
        (
            "/v1.0/secrets/vault/a",
            "",
            db("secrets", "vault", "GET /v1.0/secrets/vault/a"),
        ),
        (
            "/v1.0/bindings/b",
            "",
            db("bindings", "b", "GET /v1.0/bindings/b"),
        ),
        ("/v1.0/publish/ps/t", "", {"messaging.system": "pubsub"}),
        ("/v1.0/publish/ps", "", {"messaging.system": "pubsub"}),
        ("/v1.0/metadata", "", {}),
        ("/", "", {}),
    ],
)
def test_what_a_call_says_of_its_block(path: str, name: str, more: dict[str, str]) -> None:
    span = span_of(request(path))
    assert span.name == (name or path)
    general = ("dapr.api", "dapr.protocol", "dapr.status_code", "http.request.method", "url.full")
    own = {
        key: value
        for key, value in span.attributes.items()
        if key not in general and not key.startswith("server.")
    }
    assert own == more


def test_a_call_that_names_its_target_in_a_header() -> None:
    span = span_of(request("/orders/1", (b"dapr-app-id", b"a2")))
    assert span.name == "CallLocal/a2/orders/1"
    assert span.attributes["net.peer.name"] == "a2"


def test_dapr_headers_are_attributes_but_for_tokens_and_binaries() -> None:
    headers = [(b"dapr-foo", b"bar"), (b"dapr-x-bin", b"AAA="), (b"other", b"x")]
    span = span_of(request("/x", *headers, (b"dapr-api-token", b"s3cret")))
    assert span.attributes["dapr-foo"] == "bar"
    assert "s3cret" not in span.attributes.values()
    assert not {"dapr-x-bin", "other"} & set(span.attributes)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, ""),
        (399, ""),
        (400, "Code(400): Bad Request"),
        (404, "Code(404): Not Found"),
        (500, "Code(500): Internal Server Error"),
        (799, "Code(799): "),
    ],
)
def test_errors(status: int, error: str) -> None:
    span = span_of(request("/x"), status)
    assert (span.failed, span.error) == (error != "", error)
    assert span.attributes["dapr.status_code"] == str(status)


# --- counts -------------------------------------------------------------------------------------


def test_calls_are_counted() -> None:
    registry = Registry((("app_id", "a1"),))
    served = telemetry(Tracer(0), registry)
    for key in ("a", "b"):
        served.count(request(f"/v1.0/state/st/{key}", size=100), Response(204, [], b"four"), 0.0)
    served.count(request("/v1.0/metadata", method="QUERY", size=None), Response(500), 0.0)
    found = samples(registry)
    state = labels(app_id="a1", method="GET", path="/v1.0/state/st", status="204")
    other = labels(app_id="a1", method="UNKNOWN", path="/v1.0/metadata", status="500")
    assert found["dapr_http_server_request_count"] == {state: 2, other: 1}
    assert found["dapr_http_server_response_count"] == {state: 2, other: 1}
    assert found["dapr_http_server_latency_count"] == {state: 2, other: 1}
    assert found["dapr_http_server_request_bytes_sum"] == {labels(app_id="a1"): 200}
    assert found["dapr_http_server_response_bytes_sum"] == {labels(app_id="a1"): 8}


def test_low_cardinality_has_one_path_and_no_response_count() -> None:
    registry = Registry()
    served = telemetry(Tracer(0), registry, increasedCardinality=False, excludeVerbs=True)
    served.count(request("/a"), Response(), 0.0)
    served.count(request("/b", method="POST"), Response(), 0.0)
    found = samples(registry)
    assert found["dapr_http_server_request_count"] == {labels(method="", path="", status="200"): 2}
    assert "dapr_http_server_response_count" not in found


async def test_streams_are_counted_at_their_end() -> None:
    registry = Registry()
    served = telemetry(Tracer(0), registry)
    closed = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"12345"
            yield b"678"
        finally:
            closed.append(True)

    response = Response(200, [], body())
    served.count(request("/x"), response, 0.0)
    assert "dapr_http_server_request_count" not in samples(registry)
    assert not isinstance(response.body, bytes)
    assert [piece async for piece in response.body] == [b"12345", b"678"]
    await response.body.aclose()  # type: ignore[attr-defined]
    await response.body.aclose()  # type: ignore[attr-defined]
    found = samples(registry)
    assert list(found["dapr_http_server_request_count"].values()) == [1]
    assert found["dapr_http_server_response_bytes_sum"] == {labels(): 8}
    assert closed


async def test_a_stream_that_is_left_counts_what_went_out() -> None:
    registry = Registry()
    closed = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"12345"
            yield b"678"
        finally:
            closed.append(True)

    response = Response(200, [], body())
    telemetry(Tracer(0), registry).count(request("/x"), response, 0.0)
    assert not isinstance(response.body, bytes)
    assert await anext(response.body) == b"12345"
    await response.body.aclose()  # type: ignore[attr-defined]
    assert samples(registry)["dapr_http_server_response_bytes_sum"] == {labels(): 5}
    assert closed


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("ERR_STATE_GET", "state"),
        ("ERR_DIRECT_INVOKE", "service-invocation"),
        ("ERR_MALFORMED_REQUEST", "common"),
        ("DAPR_SCHEDULER_JOB_NAME", "job"),
        ("ERR_SOMETHING_NEW", "something"),
    ],
)
def test_error_codes_are_counted_when_asked_for(code: str, category: str) -> None:
    registry = Registry()
    served = HttpServerTelemetry(Tracer(0), registry, LATENCY_BUCKETS, {}, error_codes=True)
    served.count_error(DaprError(code, "no"))
    assert samples(registry)["dapr_error_code"] == {labels(error_code=code, category=category): 1}


def test_error_codes_are_not_counted_otherwise() -> None:
    registry = Registry()
    telemetry(Tracer(0), registry).count_error(DaprError("ERR_STATE_GET", "no"))
    telemetry(Tracer(0)).count_error(DaprError("ERR_STATE_GET", "no"))
    assert "dapr_error_code" not in samples(registry)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.telemetry.http_server._CACHE_LIMIT", 3)
    registry = Registry()
    served = telemetry(Tracer(0), registry)
    for number in range(10):
        served.count(request(f"/{number}"), Response(), 0.0)
    assert len(served._bound) <= 3
    assert len(samples(registry)["dapr_http_server_request_count"]) == 10
