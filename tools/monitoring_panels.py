"""The panels of the dashboards: what each asks of Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_APP = '{app_id=~"$app_id"}'
_TIME = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One graph: its title, its unit in Grafana's words, expression and legend of each line."""

    title: str
    unit: str
    lines: Sequence[tuple[str, str]]


def _legend(by: str) -> str:
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))


def _rate(title: str, metric: str, by: str, *, unit: str = "ops", where: str = _APP) -> Panel:
    expression = f"sum by ({by}) (rate({metric}{where}{_TIME}))"
    return Panel(title, unit, [(expression, _legend(by))])


def _p99(title: str, metric: str, by: str) -> Panel:
    inner = f"sum by (le, {by}) (rate({metric}_bucket{_APP}{_TIME}))"
    return Panel(f"{title}, p99", "ms", [(f"histogram_quantile(0.99, {inner})", _legend(by))])


def _now(title: str, expression: str, by: str, *, unit: str = "short") -> Panel:
    return Panel(title, unit, [(expression, _legend(by))])


_OF_SIDECARS = f"and on (instance) dapr_runtime_component_loaded{_APP}"
_REQUESTS, _OPEN = "reqps", '{app_id=~"$app_id", status="open"}'

SIDECARS: Sequence[Panel] = (
    _rate("HTTP API calls", "dapr_http_server_request_count", "app_id, status", unit=_REQUESTS),
    _p99("HTTP API calls", "dapr_http_server_latency", "app_id"),
    _rate(
        "gRPC API calls",
        "dapr_grpc_io_server_completed_rpcs",
        "app_id, grpc_server_status",
        unit=_REQUESTS,
    ),
    _rate("Invocations", "dapr_runtime_service_invocation_req_sent_total", "app_id, dst_app_id"),
    _p99("Invocations", "dapr_runtime_service_invocation_res_recv_latency_ms", "app_id"),
    _p99("Calls to the app", "dapr_http_client_roundtrip_latency", "app_id"),
    _rate("Messages published", "dapr_component_pubsub_egress_count", "component, topic, success"),
    _rate(
        "Messages delivered",
        "dapr_component_pubsub_ingress_count",
        "component, topic, process_status",
    ),
    _rate("State operations", "dapr_component_state_count", "component, operation, success"),
    _p99("State operations", "dapr_component_state_latencies", "component, operation"),
    _now(
        "Components that can serve",
        f"min by (component, type) (dapr_component_ready{_APP})",
        "component, type",
    ),
    _rate("Spans lost", "dapr_runtime_trace_spans_lost_total", "app_id, exporter"),
    _rate("Policies that acted", "dapr_resiliency_activations_total", "policy, target"),
    _now(
        "Open circuit breakers",
        f"sum by (app_id, target) (dapr_resiliency_cb_state{_OPEN})",
        "app_id, target",
    ),
    _now(
        "Actor calls that wait for their turn",
        f"sum by (actor_type) (dapr_runtime_actor_pending_actor_calls{_APP})",
        "actor_type",
    ),
    _rate("Reminders fired", "dapr_runtime_actor_reminders_fired_total", "actor_type, success"),
    _now(
        "CPU of the sidecars",
        f"sum by (instance) (rate(process_cpu_seconds_total{_TIME})) {_OF_SIDECARS}",
        "instance",
        unit="percentunit",
    ),
    _now(
        "Memory of the sidecars",
        f"max by (instance) (process_resident_memory_bytes) {_OF_SIDECARS}",
        "instance",
        unit="bytes",
    ),
)

CONTROL_PLANE: Sequence[Panel] = (
    Panel(
        "Certificates issued",
        "ops",
        [(f"sum(rate(dapr_sentry_cert_sign_success_total{_TIME}))", "issued")],
    ),
    _rate(
        "Certificates refused", "dapr_sentry_cert_sign_refused_total", "validator, reason", where=""
    ),
    Panel(
        "Until the certificate authority ends",
        "s",
        [
            ("min(dapr_sentry_issuercert_expiry_timestamp) - time()", "issuer"),
            ("min(dapr_sentry_rootcert_expiry_timestamp) - time()", "root"),
        ],
    ),
    _rate("Injections", "dapr_injector_sidecar_injection_succeeded_total", "app_id", where=""),
    _rate("Injections failed", "dapr_injector_sidecar_injection_failed_total", "reason", where=""),
    _rate("Resources refused", "dapr_operator_admission_refused_total", "kind, reason", where=""),
    Panel(
        "Pods healed",
        "short",
        [(f"sum(increase(dapr_operator_watchdog_pods_deleted_total{_TIME}))", "pods")],
    ),
    Panel(
        "Leaders",
        "short",
        [
            ("sum(dapr_operator_leader)", "operator"),
            ("sum(dapr_placement_leader_status)", "placement"),
        ],
    ),
    _now(
        "Sidecars at placement",
        "sum by (host_namespace) (dapr_placement_runtimes_total)",
        "host_namespace",
    ),
    _rate("CPU", "process_cpu_seconds_total", "job, instance", unit="percentunit", where=""),
    _now(
        "Memory",
        "max by (job, instance) (process_resident_memory_bytes)",
        "job, instance",
        unit="bytes",
    ),
)
