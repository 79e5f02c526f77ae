"""Dapr's metric names for what the blocks report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from dapr_common.observe.metrics import LATENCY_BUCKETS, SIZE_BUCKETS, Counter, Histogram, Registry
from dapr_sidecar.telemetry.base import Kind

_COMPONENT = ("component", "namespace", "operation", "success")
_TEXT = {True: "true", False: "false"}


def build_registry(app_id: str, spec: Mapping[str, Any]) -> Registry:
    """The registry of a sidecar; ``spec`` is Configuration ``spec.metrics``."""
    return Registry((("app_id", app_id),), _rewriter(spec.get("rules") or []))


def latency_bounds(spec: Mapping[str, Any]) -> tuple[float, ...]:
    """Bucket bounds in milliseconds, as configured."""
    given = spec.get("latencyDistributionBuckets")
    return tuple(float(bound) for bound in given) if given else LATENCY_BUCKETS


class SidecarMetrics:
    """Implements ``telemetry.base.Metrics`` on a registry."""

    def __init__(
        self, registry: Registry, namespace: str, bounds: Sequence[float] = LATENCY_BUCKETS
    ) -> None:
        self._namespace = namespace
        self._registry = registry
        self._bounds = tuple(bounds)
        self._kinds = {
            kind: self._pair(f"dapr_component_{kind}", _COMPONENT)
            for kind in ("state", "configuration", "secret", "crypto")
        }
        self._output = self._pair("dapr_component_output_binding", _COMPONENT)
        self._input = self._pair(
            "dapr_component_input_binding", ("component", "namespace", "success")
        )
        egress = ("component", "namespace", "success", "topic")
        self._egress = self._pair("dapr_component_pubsub_egress", egress)
        self._egress_bulk = self._pair("dapr_component_pubsub_egress_bulk", egress)
        self._egress_bulk_events = registry.counter(
            "dapr_component_pubsub_egress_bulk_event_count", egress
        )
        ingress = ("component", "namespace", "process_status", "status", "topic")
        self._ingress = self._pair("dapr_component_pubsub_ingress", ingress)
        bulk = ("component", "namespace", "process_status", "topic")
        self._ingress_bulk = self._pair("dapr_component_pubsub_ingress_bulk", bulk)
        self._ingress_bulk_events = registry.counter(
            "dapr_component_pubsub_ingress_bulk_event_count", bulk
        )
        self._loaded = registry.counter("dapr_runtime_component_loaded")
        self._initialised = registry.counter("dapr_runtime_component_init_total", ("component",))
        self._failed = registry.counter(
            "dapr_runtime_component_init_fail_total", ("component", "reason", "componentName")
        )
        self._invocation()
        self._app_client()

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

    def _app_client(self) -> None:
        registry = self._registry
        labels = ("method", "path", "status")
        self._client = registry.counter("dapr_http_client_completed_count", labels)
        self._client_latency = registry.histogram(
            "dapr_http_client_roundtrip_latency", labels, bounds=self._bounds
        )
        self._client_sent = registry.histogram(
            "dapr_http_client_sent_bytes", labels, bounds=SIZE_BUCKETS
        )
        self._client_received = registry.histogram(
            "dapr_http_client_received_bytes", bounds=SIZE_BUCKETS
        )
        self._probes = {
            protocol: (
                registry.counter(f"{prefix}_healthprobes_completed_count", ("status",)),
                registry.histogram(
                    f"{prefix}_healthprobes_roundtrip_latency", ("status",), bounds=self._bounds
                ),
            )
            for protocol, prefix in (("http", "dapr_http"), ("grpc", "dapr_grpc_io"))
        }
        self.client_path: Callable[[str], str] = str
        self.client_method: Callable[[str], str] = str

    def _pair(self, prefix: str, labels: Sequence[str]) -> tuple[Counter, Histogram]:
        return (
            self._registry.counter(f"{prefix}_count", labels),
            self._registry.histogram(f"{prefix}_latencies", labels, bounds=self._bounds),
        )

    # --- components -------------------------------------------------------------------------

    def component(
        self, kind: Kind, name: str, operation: str, success: bool, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, operation, _TEXT[success])
        count, latency = self._kinds[kind]
        count.at(*labels).add()
        latency.at(*labels).observe(elapsed_ms)

    def pubsub_egress(self, name: str, topic: str, success: bool, elapsed_ms: float) -> None:
        _record(self._egress, (name, self._namespace, _TEXT[success], topic), elapsed_ms)

    def pubsub_egress_bulk(
        self, name: str, topic: str, success: bool, events: int, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, _TEXT[success], topic)
        _record(self._egress_bulk, labels, elapsed_ms)
        self._egress_bulk_events.at(*labels).add(events)

    def pubsub_ingress(
        self, name: str, topic: str, process_status: str, status: str, elapsed_ms: float
    ) -> None:
        _record(self._ingress, (name, self._namespace, process_status, status, topic), elapsed_ms)

    def pubsub_ingress_bulk(
        self, name: str, topic: str, process_status: str, events: int, elapsed_ms: float
    ) -> None:
        labels = (name, self._namespace, process_status, topic)
        _record(self._ingress_bulk, labels, elapsed_ms)
        self._ingress_bulk_events.at(*labels).add(events)

    def input_binding(self, name: str, success: bool, elapsed_ms: float) -> None:
        _record(self._input, (name, self._namespace, _TEXT[success]), elapsed_ms)

    def output_binding(self, name: str, operation: str, success: bool, elapsed_ms: float) -> None:
        _record(self._output, (name, self._namespace, operation, _TEXT[success]), elapsed_ms)

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
        verb, shown, code = self.client_method(method), self.client_path(path), str(status)
        self._client.at(verb, shown, code).add()
        self._client_latency.at(verb, shown, code).observe(elapsed_ms)
        self._client_sent.at(verb, shown, "").observe(sent)
        self._client_received.at().observe(received)

    def health_probe(self, protocol: Literal["http", "grpc"], status: str, ms: float) -> None:
        count, latency = self._probes[protocol]
        count.at(status).add()
        latency.at(status).observe(ms)

    # --- life cycle -------------------------------------------------------------------------

    def component_initialised(self, type_name: str) -> None:
        self._initialised.at(type_name).add()

    def component_failed(self, type_name: str, reason: str, name: str) -> None:
        self._failed.at(type_name, reason, name).add()

    def component_loaded(self, count: int) -> None:
        self._loaded.at().add(count)


def _record(pair: tuple[Counter, Histogram], labels: tuple[str, ...], elapsed_ms: float) -> None:
    pair[0].at(*labels).add()
    pair[1].at(*labels).observe(elapsed_ms)


def _rewriter(rules: Sequence[Mapping[str, Any]]) -> Callable[[str, str, str], str] | None:
    table: dict[tuple[str, str], list[tuple[re.Pattern[str], str]]] = {}
    for rule in rules:
        name = str(rule.get("name", "")).replace("/", "_").replace(".", "_")
        name = name if name.startswith("dapr_") else f"dapr_{name}"
        for label in rule.get("labels") or []:
            patterns = [
                (re.compile(str(pattern)), str(replacement))
                for replacement, pattern in (label.get("regex") or {}).items()
            ]
            table[name, str(label.get("name"))] = patterns
    if not table:
        return None

    def rewrite(metric: str, label: str, value: str) -> str:
        for pattern, replacement in table.get((metric, label), ()):
            if pattern.search(value):
                return replacement
        return value

    return rewrite
