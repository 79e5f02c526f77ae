from __future__ import annotations

import math
import subprocess
from pathlib import Path

import pytest
from harness.backends import Backends
from harness.metric_families import SIDECAR_FAMILIES
from harness.prometheus_text import labels, samples
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.server import Context
from dapr_common.http.messages import Request, Response
from dapr_common.observe.metrics import LATENCY_BUCKETS, RATIO_BUCKETS, SIZE_BUCKETS, Registry
from dapr_common.observe.tracing import Tracer
from dapr_sidecar.telemetry.actors import ActorMetrics
from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry, latency_bounds
from dapr_sidecar.telemetry.resiliency import ResiliencyMetrics
from dapr_sidecar.telemetry.security import SecurityMetrics
from dapr_sidecar.telemetry.workflows import WorkflowMetrics

OURS = {"dapr_component_ready", "dapr_runtime_trace_spans_lost"}
BUCKETS = {"latency": LATENCY_BUCKETS, "size": SIZE_BUCKETS, "ratio": RATIO_BUCKETS}


def everything() -> Registry:
    """A registry in which each family has a record."""
    registry = build_registry("a1", {})
    metrics = SidecarMetrics(registry, "ns")
    record_blocks(metrics)
    record_runtime(metrics)
    record_actors(metrics.actors)
    record_workflows(metrics.workflows)
    record_security(metrics.security)
    record_policies(metrics.resiliency)
    record_servers(registry)
    metrics.grpc_client("/a/B", GrpcCode.OK, 1, 2, 3)
    return registry


def record_blocks(metrics: SidecarMetrics) -> None:
    for kind in ("state", "configuration", "secret", "crypto"):
        metrics.component(kind, "c", "get", True, 1)
    metrics.pubsub_egress("c", "t", True, 1)
    metrics.pubsub_egress_bulk("c", "t", True, 3, 1)
    metrics.pubsub_ingress("c", "t", "success", "success", 1)
    metrics.pubsub_ingress_bulk("c", "t", "success", 3, 1)
    metrics.input_binding("c", True, 1)
    metrics.output_binding("c", "create", False, 1)
    metrics.conversation("c", True, 1)
    metrics.job("trigger", True, 1)
    metrics.job("trigger", False, 1)


def record_runtime(metrics: SidecarMetrics) -> None:
    metrics.invocation_request_sent("b", True)
    metrics.invocation_request_received("b")
    metrics.invocation_response_sent("b", 200)
    metrics.invocation_response_received("b", 200, False, 1)
    for scope in ("app", "global"):
        for allowed in (True, False):
            metrics.acl(scope, allowed, "public/ns")
    metrics.http_client("GET", "/x", 200, 1, 2, 3)
    metrics.health_probe("http", "200", 1)
    metrics.health_probe("grpc", "OK", 1)
    metrics.component_initialised("state.redis")
    metrics.component_failed("state.redis", "init", "c")
    metrics.component_loaded(2)
    metrics.component_ready("c", "state.redis", True)
    metrics.traces.lost("otlp collector:4317", 1)


def record_actors(actors: ActorMetrics) -> None:
    actors.status_reported("T", "send")
    actors.status_report_failed("T", "send", "stream")
    actors.table_operation("T", "lock")
    actors.rebalanced("T")
    actors.deactivated("T", True)
    actors.deactivated("T", False)
    actors.pending_calls("T", 1)
    actors.timers("T", 2)
    actors.reminders("T", 3)
    actors.reminder_fired("T", True)
    actors.timer_fired("T", False)


def record_workflows(workflows: WorkflowMetrics) -> None:
    workflows.operation("create_workflow", "success", 1)
    workflows.execution("W", "success", 1)
    workflows.activity_operation("A", "success", 1)
    workflows.activity_execution("A", "failed", 1)
    workflows.scheduled("W", 1)
    workflows.payload("W", 0.5)
    workflows.payload("W", 0.5, "A")
    workflows.acl(True, "b", "start", "workflow")
    workflows.acl(False, "b", "start", "workflow")


def record_security(security: SecurityMetrics) -> None:
    security.initialised()
    security.initialised("sentry")
    security.rotated()
    security.rotated("sentry")


def record_policies(policies: ResiliencyMetrics) -> None:
    policies.loaded("r", "ns")
    policies.executed("timeout", "outbound", "app_b")
    policies.activated("retry", "outbound", "app_b")
    policies.breaker_state("outbound", "app_b", "open")


def record_servers(registry: Registry) -> None:
    http = HttpServerTelemetry(Tracer(0), registry, LATENCY_BUCKETS, {}, error_codes=True)
    http.count(Request("GET", b"/x", b"", []), Response(), 0.0)
    http.count_error(DaprError("ERR_STATE_GET", "no"))
    grpc = GrpcServerTelemetry(Tracer(0), registry, LATENCY_BUCKETS, error_codes=True)
    grpc.finish(Context(None, "/a/B", [], "", None), GrpcCode.NOT_FOUND, 1, 2, 3)


@pytest.fixture(scope="module")
def families() -> dict[str, Metric]:
    text = everything().render().decode()
    found = text_string_to_metric_families(text)
    return {family.name: family for family in found if family.name.startswith("dapr_")}


@pytest.mark.parametrize(("kind", "name", "given", "buckets"), SIDECAR_FAMILIES)
def test_a_family_is_what_dapr_has(
    families: dict[str, Metric], kind: str, name: str, given: str, buckets: str
) -> None:
    family = families[name.removesuffix("_total") if kind == "counter" else name]
    assert family.type == kind
    expected = {"app_id", *(given.split(",") if given != "-" else ())}
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == expected
        assert sample.labels["app_id"] == "a1"
    if kind == "histogram":
        bounds = {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
        assert bounds == {*BUCKETS[buckets], math.inf}


def test_there_are_no_other_families(families: dict[str, Metric]) -> None:
    known = {
        name.removesuffix("_total") if kind == "counter" else name
        for kind, name, _, _ in SIDECAR_FAMILIES
    }
    assert set(families) - known == OURS


# --- values -------------------------------------------------------------------------------------


def test_what_blocks_report() -> None:
    registry = build_registry("a1", {})
    metrics = SidecarMetrics(registry, "ns")
    metrics.component("state", "st", "get", True, 3)
    metrics.component("state", "st", "get", True, 40)
    metrics.component("state", "st", "get", False, 1)
    metrics.pubsub_egress_bulk("ps", "t", True, 7, 1)
    found = samples(registry)
    place = {"app_id": "a1", "component": "st", "namespace": "ns", "operation": "get"}
    assert found["dapr_component_state_count"] == {
        labels(**place, success="true"): 2,
        labels(**place, success="false"): 1,
    }
    latencies = found["dapr_component_state_latencies_bucket"]
    assert latencies[labels(**place, success="true", le="3")] == 1
    assert latencies[labels(**place, success="true", le="40")] == 2
    [events] = found["dapr_component_pubsub_egress_bulk_event_count"].values()
    assert events == 7


def test_a_peers_identity_is_its_domain_and_namespace() -> None:
    registry = build_registry("a1", {})
    SidecarMetrics(registry, "ns").acl("app", False, "public/other")
    assert samples(registry)["dapr_runtime_acl_app_policy_action_blocked"] == {
        labels(app_id="a1", trustDomain="public", namespace="other"): 1
    }


def test_calls_to_the_app_are_labelled_as_the_configuration_says() -> None:
    registry = build_registry("a1", {})
    metrics = SidecarMetrics(registry, "ns", http={"increasedCardinality": False})
    for path in ("/orders/1", "/orders/2", "/dapr/config"):
        metrics.http_client("GET", path, 200, 1, 10, 20)
    found = samples(registry)
    assert found["dapr_http_client_completed_count"] == {
        labels(app_id="a1", method="GET", path="", status="200"): 2,
        labels(app_id="a1", method="GET", path="/dapr/config", status="200"): 1,
    }
    sent = found["dapr_http_client_sent_bytes_sum"]
    assert sent[labels(app_id="a1", method="GET", path="", status="")] == 20
    assert found["dapr_http_client_received_bytes_sum"] == {labels(app_id="a1"): 60}


def test_a_breakers_states_are_four_series_and_follow_it() -> None:
    registry = build_registry("a1", {})
    policies = ResiliencyMetrics(registry)
    policies.loaded("r", "ns")
    for state in ("closed", "closed", "open", "strange"):
        policies.breaker_state("outbound", "app_b", state)
        shown = {
            dict(pairs)["status"]: value
            for pairs, value in samples(registry)["dapr_resiliency_cb_state"].items()
        }
        current = state if state != "strange" else "unknown"
        assert shown == {
            name: float(name == current) for name in ("closed", "half-open", "open", "unknown")
        }


def test_policies_carry_the_name_of_the_resource_loaded_last() -> None:
    registry = build_registry("a1", {})
    policies = ResiliencyMetrics(registry)
    for name in ("first", "second"):
        policies.loaded(name, "ns")
        policies.executed("timeout", "outbound", "app_b")
        policies.breaker_state("outbound", "app_b", "open")
    found = samples(registry)
    assert {dict(pairs)["name"] for pairs in found["dapr_resiliency_count"]} == {"first", "second"}
    assert len(found["dapr_resiliency_cb_state"]) == 8


def test_latency_buckets_of_the_configuration() -> None:
    assert latency_bounds({}) == LATENCY_BUCKETS
    assert latency_bounds({"latencyDistributionBuckets": [100, 5, 5, "10"]}) == (5, 10, 100)
    with pytest.raises(MetricsError, match="latencyDistributionBuckets: expected milliseconds"):
        latency_bounds({"latencyDistributionBuckets": ["fast"]})


def test_configured_buckets_are_used() -> None:
    registry = build_registry("a1", {})
    SidecarMetrics(registry, "ns", (1.0, 2.0)).component("state", "st", "get", True, 1.5)
    found = samples(registry)["dapr_component_state_latencies_bucket"]
    assert {dict(pairs)["le"] for pairs in found} == {"1", "2", "+Inf"}


def test_prometheus_reads_everything(backends: Backends) -> None:
    """It takes every line, and finds fault with names that Dapr gave only."""
    program = Path(backends.program("prometheus")).with_name("promtool")
    done = subprocess.run(
        [program, "check", "metrics"],
        input=everything().render(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode in (0, 3), said  # 3: read, but named against its conventions
    theirs = {name for _, name, _, _ in SIDECAR_FAMILIES}
    assert {line.split()[0] for line in said.splitlines()} <= theirs
