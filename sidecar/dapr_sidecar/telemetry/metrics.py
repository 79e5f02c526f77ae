"""Dapr's metric names for what the blocks report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dapr_common.observe.metrics import (
    LATENCY_BUCKETS,
    SIZE_BUCKETS,
    HistogramSeries,
    Registry,
    Series,
    is_short,
)
from dapr_sidecar.telemetry.actors import ActorMetrics
from dapr_sidecar.telemetry.base import Kind, MetricsError
from dapr_sidecar.telemetry.grpc_client import GrpcClientTelemetry
from dapr_sidecar.telemetry.paths import PathLabels
from dapr_sidecar.telemetry.resiliency import ResiliencyMetrics
from dapr_sidecar.telemetry.rules import rewriter
from dapr_sidecar.telemetry.security import SecurityMetrics
from dapr_sidecar.telemetry.timed import Timed
from dapr_sidecar.telemetry.traces import TraceMetrics
from dapr_sidecar.telemetry.workflows import WorkflowMetrics

_TEXT = {True: "true", False: "false"}
_PLACE = ("component", "namespace")
_KINDS: tuple[Kind, ...] = ("state", "configuration", "secret", "crypto")
_CACHE_LIMIT = 4096


def build_registry(app_id: str, spec: Mapping[str, Any]) -> Registry:
    """The registry of a sidecar; ``spec`` is Configuration ``spec.metrics``.

    Raises ``MetricsError`` for a rule that cannot be read.
    """
    return Registry((("app_id", app_id),), rewriter(spec.get("rules") or []))


def latency_bounds(spec: Mapping[str, Any]) -> tuple[float, ...]:
    """Bucket bounds in milliseconds, as configured. Raises ``MetricsError``."""
    given = spec.get("latencyDistributionBuckets")
    if not given:
        return LATENCY_BUCKETS
    try:
        return tuple(sorted({float(bound) for bound in given}))
    except (TypeError, ValueError) as error:
        raise MetricsError(
            f"metrics.latencyDistributionBuckets: expected milliseconds, got {given}"
        ) from error


class SidecarMetrics:
    """Implements ``telemetry.base.Metrics`` on a registry; ``http`` is ``spec.metrics.http``."""

    def __init__(
        self,
        registry: Registry,
        namespace: str,
        bounds: Sequence[float] = LATENCY_BUCKETS,
        http: Mapping[str, Any] | None = None,
    ) -> None:
        self._namespace = namespace
        self._registry = registry
        self._bounds = tuple(bounds)
        self.actors = ActorMetrics(registry)
        self.resiliency = ResiliencyMetrics(registry)
        self.security = SecurityMetrics(registry)
        self.traces = TraceMetrics(registry)
        self.workflows = WorkflowMetrics(registry, namespace, self._bounds)
        self._components()
        self._invocation()
        self._app_client(PathLabels(http or {}))
        self.grpc_client = GrpcClientTelemetry(registry, self._bounds).finish

    def _components(self) -> None:
        registry = self._registry
        operated = (*_PLACE, "operation", "success")
        self._kinds = {kind: self._timed(kind, operated) for kind in _KINDS}
        self._output = self._timed("output_binding", operated)
        self._input = self._timed("input_binding", (*_PLACE, "success"))
        self._conversation = self._timed("conversation", (*_PLACE, "success"))
        egress = (*_PLACE, "success", "topic")
        self._egress = self._timed("pubsub_egress", egress)
        self._egress_bulk = self._timed("pubsub_egress_bulk", egress)
        prefix = "dapr_component_"
        self._egress_events = registry.counter(f"{prefix}pubsub_egress_bulk_event_count", egress)
        self._ingress = self._timed(
            "pubsub_ingress", (*_PLACE, "process_status", "status", "topic")
        )
        bulk = (*_PLACE, "process_status", "topic")
        self._ingress_bulk = self._timed("pubsub_ingress_bulk", bulk)
        self._ingress_events = registry.counter(f"{prefix}pubsub_ingress_bulk_event_count", bulk)
        job = ("namespace", "operation")
        self._jobs = {
            success: registry.counter(f"{prefix}job_{word}_count", job)
            for success, word in ((True, "success"), (False, "failure"))
        }
        self._job_latency = registry.histogram(
            f"{prefix}job_latencies", (*job, "success"), bounds=self._bounds
        )
        self._loaded = registry.counter("dapr_runtime_component_loaded")
        self._initialised = registry.counter("dapr_runtime_component_init_total", ("component",))
        self._ready = registry.gauge(f"{prefix}ready", (*_PLACE, "type"))
        self._failed = registry.counter(
            "dapr_runtime_component_init_fail_total", ("component", "reason", "componentName")
        )

    def _timed(self, name: str, labels: Sequence[str]) -> Timed:
        prefix = f"dapr_component_{name}"
        return Timed(self._registry, f"{prefix}_count", f"{prefix}_latencies", labels, self._bounds)

    def _invocation(self) -> None:
        registry, prefix = self._registry, "dapr_runtime_service_invocation_"
        self._sent = registry.counter(prefix + "req_sent_total", ("dst_app_id", "type"))
        self._received = registry.counter(prefix + "req_recv_total", ("src_app_id",))
        self._answered = registry.counter(prefix + "res_sent_total", ("dst_app_id", "status"))
        self._answers = registry.counter(
            prefix + "res_recv_total", ("src_app_id", "status", "type")
        )
        self._answer_latency = registry.histogram(
            prefix + "res_recv_latency_ms", ("src_app_id", "status"), bounds=self._bounds
        )
        self._acl = {
            (scope, allowed): registry.counter(
                f"dapr_runtime_acl_{scope}_policy_action_{word}_total", ("trustDomain", "namespace")
            )
            for scope in ("app", "global")
            for allowed, word in ((True, "allowed"), (False, "blocked"))
        }

    def _app_client(self, paths: PathLabels) -> None:
        registry = self._registry
        labels = ("method", "path", "status")
        self._paths = paths
        self._client = Timed(
            registry,
            "dapr_http_client_completed_count",
            "dapr_http_client_roundtrip_latency",
            labels,
            self._bounds,
        )
        self._client_sent = registry.histogram(
            "dapr_http_client_sent_bytes", labels, bounds=SIZE_BUCKETS
        )
        self._client_received = registry.histogram(
            "dapr_http_client_received_bytes", bounds=SIZE_BUCKETS
        )
        self._client_bound: dict[
            tuple[str, str, int], tuple[Series, HistogramSeries, HistogramSeries, HistogramSeries]
        ] = {}
        self._probes = {
            protocol: Timed(
                registry,
                f"{prefix}_healthprobes_completed_count",
                f"{prefix}_healthprobes_roundtrip_latency",
                (label,),
                self._bounds,
            )
            for protocol, prefix, label in (
                ("http", "dapr_http", "status"),
                ("grpc", "dapr_grpc_io", "grpc_client_status"),
            )
        }

    # --- components -------------------------------------------------------------------------

    def component(
        self, kind: Kind, name: str, operation: str, success: bool, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, operation, _TEXT[success])
        self._kinds[kind].record(labels, elapsed_ms)

    def pubsub_egress(self, name: str, topic: str, success: bool, elapsed_ms: float) -> None:
        self._egress.record((name, self._namespace, _TEXT[success], topic), elapsed_ms)

    def pubsub_egress_bulk(
        self, name: str, topic: str, success: bool, events: int, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, _TEXT[success], topic)
        self._egress_bulk.record(labels, elapsed_ms)
        self._egress_events.at(*labels).add(events)

    def pubsub_ingress(
        self, name: str, topic: str, process_status: str, status: str, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, process_status, status, topic)
        self._ingress.record(labels, elapsed_ms)

    def pubsub_ingress_bulk(
        self, name: str, topic: str, process_status: str, events: int, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, process_status, topic)
        self._ingress_bulk.record(labels, elapsed_ms)
        self._ingress_events.at(*labels).add(events)

    def input_binding(self, name: str, success: bool, elapsed_ms: float) -> None:
        self._input.record((name, self._namespace, _TEXT[success]), elapsed_ms)

    def output_binding(self, name: str, operation: str, success: bool, elapsed_ms: float) -> None:
        self._output.record((name, self._namespace, operation, _TEXT[success]), elapsed_ms)

    def conversation(self, name: str, success: bool, elapsed_ms: float) -> None:
        self._conversation.record((name, self._namespace, _TEXT[success]), elapsed_ms)

    def job(self, operation: str, success: bool, elapsed_ms: float) -> None:
        self._jobs[success].at(self._namespace, operation).add()
        self._job_latency.at(self._namespace, operation, _TEXT[success]).observe(elapsed_ms)

    # --- invocation -------------------------------------------------------------------------

    def invocation_request_sent(self, target: str, streaming: bool) -> None:
        self._sent.at(target, "streaming" if streaming else "unary").add()

    def invocation_request_received(self, source: str) -> None:
        self._received.at(source).add()

    def invocation_response_sent(self, target: str, status: int) -> None:
        self._answered.at(target, str(status)).add()

    def invocation_response_received(
        self, source: str, status: int, streaming: bool, elapsed_ms: float
    ) -> None:
        text = str(status)
        self._answers.at(source, text, "streaming" if streaming else "unary").add()
        self._answer_latency.at(source, text).observe(elapsed_ms)

    def acl(self, scope: Literal["app", "global"], allowed: bool, source: str) -> None:
        domain, _, namespace = source.partition("/")
        self._acl[scope, allowed].at(domain, namespace).add()

    def http_client(
        self, method: str, path: str, status: int, elapsed_ms: float, sent: int, received: int
    ) -> None:
        path = self._paths.client_key(path)
        key = (method, path, status)
        bound = self._client_bound.get(key)
        if bound is None:
            if len(self._client_bound) >= _CACHE_LIMIT:
                self._client_bound.clear()
            verb, shown = self._paths.method(method), self._paths.client(path)
            bound = (
                *self._client.at(verb, shown, str(status)),
                self._client_sent.at(verb, shown, ""),
                self._client_received.at(),
            )
            if is_short((path,)):
                self._client_bound[key] = bound
        bound[0].value += 1
        bound[1].observe(elapsed_ms)
        bound[2].observe(sent)
        bound[3].observe(received)

    def health_probe(self, protocol: Literal["http", "grpc"], status: str, ms: float) -> None:
        self._probes[protocol].record((status,), ms)

    # --- life cycle -------------------------------------------------------------------------

    def component_initialised(self, type_name: str) -> None:
        self._initialised.at(type_name).add()

    def component_failed(self, type_name: str, reason: str, name: str) -> None:
        self._failed.at(type_name, reason, name).add()

    def component_loaded(self, count: int) -> None:
        self._loaded.at().add(count)

    def component_ready(self, name: str, type_name: str, ready: bool) -> None:
        self._ready.at(name, self._namespace, type_name).set(float(ready))

    def component_gone(self, name: str, type_name: str) -> None:
        self._ready.forget(name, self._namespace, type_name)
