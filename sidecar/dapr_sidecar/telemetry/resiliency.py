"""Metrics of resiliency policies."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry
from dapr_sidecar.resiliency.report import Flow, PolicyKind

_STATES = ("closed", "half-open", "open", "unknown")
_LABELS = ("name", "policy", "namespace", "flow_direction", "target", "status")
_LIMIT = 4096


class ResiliencyMetrics:
    """Implements ``resiliency.report.Report`` on a registry."""

    def __init__(self, registry: Registry) -> None:
        self._name = ""
        self._namespace = ""
        self._loaded = registry.counter("dapr_resiliency_loaded", ("name", "namespace"))
        self._count = registry.counter("dapr_resiliency_count", _LABELS)
        self._activations = registry.counter("dapr_resiliency_activations_total", _LABELS)
        self._state = registry.gauge("dapr_resiliency_cb_state", _LABELS)
        self._shown: dict[tuple[Flow, str], str] = {}

    def loaded(self, name: str, namespace: str) -> None:
        self._name, self._namespace = name, namespace
        self._shown.clear()
        self._loaded.at(name, namespace).add()

    def executed(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        self._count.at(self._name, policy, self._namespace, flow, target, status).add()

    def activated(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        self._activations.at(self._name, policy, self._namespace, flow, target, status).add()

    def breaker_state(self, flow: Flow, target: str, status: str) -> None:
        # Told with every call; only a change costs more than a look.
        if self._shown.get((flow, target)) == status:
            return
        if len(self._shown) >= _LIMIT:
            self._shown.clear()
        self._shown[flow, target] = status
        shown = status if status in _STATES else "unknown"
        for state in _STATES:
            series = self._state.at(
                self._name, "circuitbreaker", self._namespace, flow, target, state
            )
            series.set(1.0 if state == shown else 0.0)
