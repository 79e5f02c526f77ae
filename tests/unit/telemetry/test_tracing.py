from __future__ import annotations

import logging
from typing import Any

import pytest
from harness.http_collector import HttpCollector, http_collector
from harness.spans import SpanList

from dapr_common.observe.exporters.batch import BatchLimits
from dapr_common.observe.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter
from dapr_common.observe.exporters.stdout import StdoutExporter
from dapr_common.observe.exporters.zipkin import ZipkinExporter
from dapr_common.observe.tracing import NO_TRACEPARENT, RecordedSpan, Tracer
from dapr_sidecar.telemetry.tracing import (
    Otlp,
    Tracing,
    TracingError,
    batch_limits,
    build_tracing,
    otlp_settings,
    resource_attributes,
    sampling_rate,
)

ZIPKIN = {"endpointAddress": "http://zipkin:9411/api/v2/spans"}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def exporters(tracing: Tracing) -> list[type]:
    return [type(batch._exporter) for batch in tracing._batches]


def is_recorded(tracing: Tracing) -> bool:
    return tracing.tracer.start("x", "CLIENT").recording


# --- sampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("1", 1),
        ("0", 0),
        ("0.5", 0.5),
        (1, 1),
        (None, 0.0001),
        ("", 0.0001),
        ("often", 0.0001),
        ("nan", 0.0001),
    ],
)
def test_sampling_rates(given: object, rate: float) -> None:
    assert sampling_rate(given) == rate


def test_what_a_span_holds_is_bounded() -> None:
    """A queue of them waits for a collector, and peers choose the names of methods."""
    long = "x" * 1_000_000
    span = Tracer(1, SpanList()).start(long, "CLIENT")
    assert isinstance(span, RecordedSpan)
    span.set("dapr.api", long)
    span.fail(long)
    assert {len(span.name), len(span.attributes["dapr.api"]), len(span.error)} == {4096}


def test_zero_is_off() -> None:
    tracing = build_tracing({"samplingRate": "0", "zipkin": ZIPKIN}, {}, "a1")
    assert not tracing.tracer.enabled
    assert exporters(tracing) == []


def test_the_configured_rate_decides_on_roots() -> None:
    tracing = build_tracing({"samplingRate": "0.25", "stdout": True}, {}, "a1")
    count = sum(is_recorded(tracing) for _ in range(2000))
    assert 350 < count < 650


def test_without_a_configuration_tracing_is_on_and_records_nothing() -> None:
    tracing = build_tracing({}, {}, "a1")
    assert tracing.tracer.enabled
    assert tracing.tracer.start("x", "CLIENT").context.traceparent == NO_TRACEPARENT


# --- exporters ----------------------------------------------------------------------------------


def test_exporters_may_be_combined() -> None:
    otel = {"endpointAddress": "otel:4317", "protocol": "grpc"}
    spec = {"samplingRate": "1", "stdout": True, "zipkin": ZIPKIN, "otel": otel}
    tracing = build_tracing(spec, {}, "a1")
    assert exporters(tracing) == [StdoutExporter, ZipkinExporter, OtlpGrpcExporter]


def test_otlp_over_http() -> None:
    otel = {"endpointAddress": "otel:4318", "protocol": "http"}
    assert exporters(build_tracing({"otel": otel}, {}, "a1")) == [OtlpHttpExporter]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"zipkin": {"endpointAddress": "zipkin:9411"}}, 'invalid URL "'),
        ({"otel": {"endpointAddress": "otel:port"}}, "tracing configuration"),
        ({"otel": {"endpointAddress": "o:1", "protocol": "udp"}}, 'expected http or grpc, got "ud'),
        ({"otel": {"endpointAddress": "o:1", "timeout": "soon"}}, "otel.timeout"),
    ],
)
def test_a_configuration_that_cannot_work(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(TracingError, match=message):
        build_tracing(spec, {}, "a1")


# --- OTLP settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("otel", "expected"),
    [
        ({}, Otlp("o:4317", "grpc", True, (), 10.0)),
        ({"protocol": "HTTP", "isSecure": False}, Otlp("o:4317", "http", False, (), 10.0)),
        ({"endpointAddress": "http://o:4317"}, Otlp("o:4317", "grpc", False, (), 10.0)),
        ({"endpointAddress": "https://o:4317"}, Otlp("o:4317", "grpc", True, (), 10.0)),
        ({"timeout": "3s"}, Otlp("o:4317", "grpc", True, (), 3.0)),
        ({"timeout": 2500}, Otlp("o:4317", "grpc", True, (), 2.5)),
        (
            {"headers": ["a=b", "c=d=e"]},
            Otlp("o:4317", "grpc", True, (("a", "b"), ("c", "d=e")), 10),
        ),
        ({"headers": "a=b,c=d"}, Otlp("o:4317", "grpc", True, (("a", "b"), ("c", "d")), 10)),
        (
            {"headers": [{"name": "a", "value": "b"}, {"name": "c", "envRef": "TOKEN"}]},
            Otlp("o:4317", "grpc", True, (("a", "b"), ("c", "t0")), 10),
        ),
    ],
)
def test_otlp_of_the_configuration(otel: dict[str, Any], expected: Otlp) -> None:
    spec = {"otel": {"endpointAddress": "o:4317", **otel}}
    # The environment's endpoint is for sidecars without one of their own.
    assert otlp_settings(spec, {ENDPOINT: "http://else:1", "TOKEN": "t0"}) == expected


def test_a_header_without_a_value_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    spec = {"otel": {"endpointAddress": "o:1", "headers": [{"name": "x-key", "envRef": "NONE"}]}}
    with caplog.at_level(logging.WARNING, "dapr.runtime"):
        found = otlp_settings(spec, {})
    assert found is not None
    assert found.headers == ()
    assert caplog.messages == ["Trace exporter header x-key has no value and is left out"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({ENDPOINT: "https://o:4317"}, Otlp("o:4317", "grpc", True, (), 10)),
        ({ENDPOINT: "http://o:4317"}, Otlp("o:4317", "grpc", False, (), 10)),
        ({ENDPOINT: "o:4317"}, Otlp("o:4317", "grpc", True, (), 10)),
        (
            {ENDPOINT: "o:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
            Otlp("o:4317", "grpc", False, (), 10),
        ),
        (
            {
                ENDPOINT: "https://general:1",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces:2/v1/traces",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_HEADERS": "x=y",
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=a%20b%2Cc, other = 1,broken",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1500",
            },
            Otlp(
                "traces:2/v1/traces",
                "http",
                True,
                (("api-key", "a b,c"), ("other", "1")),
                1.5,
            ),
        ),
    ],
)
def test_otlp_of_the_environment(environment: dict[str, str], expected: Otlp | None) -> None:
    assert otlp_settings({}, environment) == expected


def test_the_environments_endpoint_records_every_trace_unless_a_rate_is_set() -> None:
    environment = {ENDPOINT: "http://127.0.0.1:1"}
    assert is_recorded(build_tracing({}, environment, "a1"))
    assert is_recorded(build_tracing({"samplingRate": ""}, environment, "a1"))
    off = build_tracing({"samplingRate": "0"}, environment, "a1")
    assert not off.tracer.enabled
    own = build_tracing({"otel": {"endpointAddress": "o:1"}}, environment, "a1")
    assert sum(is_recorded(own) for _ in range(100)) < 10


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"service.name": "a1"}),
        ({"OTEL_SERVICE_NAME": "s"}, {"service.name": "s"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "team=blue%20one,service.name=r"},
            {"service.name": "r", "team": "blue one"},
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=r", "OTEL_SERVICE_NAME": "s"},
            {"service.name": "s"},
        ),
    ],
)
def test_what_spans_say_of_their_origin(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert resource_attributes(environment, "a1") == expected


# --- life ---------------------------------------------------------------------------------------


async def test_spans_of_the_last_moment_are_exported_at_close() -> None:
    with http_collector() as collector:
        tracing = build_tracing(spec_of(collector), {}, "a1")
        tracing.start()
        tracing.tracer.start("late", "CLIENT").end()
        await tracing.close()
        assert [b'"name":"late"' in posted.body for posted in collector.posted] == [True]


def spec_of(collector: HttpCollector) -> dict[str, Any]:
    url = f"http://127.0.0.1:{collector.port}/api/v2/spans"
    return {"samplingRate": "1", "zipkin": {"endpointAddress": url}}


async def test_closing_what_never_started() -> None:
    await build_tracing({"stdout": True}, {}, "a1").close()


def test_a_tracer_of_its_own_needs_no_loop() -> None:
    spans = SpanList()
    Tracer(1, spans).start("x", "CLIENT").end()
    assert len(spans) == 1


# --- batches ------------------------------------------------------------------------------------


def test_batches_have_the_library_s_limits_and_variables() -> None:
    assert batch_limits({}) == BatchLimits()
    given = {
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_BSP_EXPORT_TIMEOUT": "2000",
        "OTEL_BSP_MAX_QUEUE_SIZE": "10",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100",
    }
    assert batch_limits(given) == BatchLimits(max_queue=10, max_batch=10, interval=0.25, timeout=2)
    tracing = build_tracing({"samplingRate": "1", "zipkin": ZIPKIN}, given, "a1")
    assert tracing._batches[0]._limits.max_queue == 10


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "99999999999999"])
def test_a_limit_that_is_none_is_named_and_left_out(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dapr.runtime"):
        assert batch_limits({"OTEL_BSP_MAX_QUEUE_SIZE": text}) == BatchLimits()
    (message,) = caplog.messages
    assert message.startswith("OTEL_BSP_MAX_QUEUE_SIZE: expected a number between 1 and 1000000")
    assert message.endswith(f'got "{text}"; 2048 is used')
