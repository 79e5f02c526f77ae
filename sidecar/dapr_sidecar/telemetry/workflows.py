"""Metrics of the workflow engine."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.observe.metrics import RATIO_BUCKETS, Registry
from dapr_sidecar.telemetry.timed import Timed

_PREFIX = "dapr_runtime_workflow_"


class WorkflowMetrics:
    """Counts and times of workflows and activities, in milliseconds."""

    def __init__(self, registry: Registry, namespace: str, bounds: Sequence[float]) -> None:
        self._namespace = namespace

        def timed(name: str, label: str) -> Timed:
            prefix = f"{_PREFIX}{name}"
            labels = ("namespace", label, "status")
            return Timed(registry, f"{prefix}_count", f"{prefix}_latency", labels, bounds)

        self._operation = timed("operation", "operation")
        self._execution = timed("execution", "workflow_name")
        self._activity_operation = timed("activity_operation", "activity_name")
        self._activity_execution = timed("activity_execution", "activity_name")
        self._scheduling = registry.histogram(
            f"{_PREFIX}scheduling_latency", ("namespace", "workflow_name"), bounds=bounds
        )
        self._payload = registry.histogram(
            f"{_PREFIX}payload_size_ratio", ("namespace", "workflow_name"), bounds=RATIO_BUCKETS
        )
        self._activity_payload = registry.histogram(
            f"{_PREFIX}activity_payload_size_ratio",
            ("namespace", "workflow_name", "activity_name"),
            bounds=RATIO_BUCKETS,
        )
        acl = ("src_app_id", "operation", "type")
        self._acl = {
            allowed: registry.counter(f"{_PREFIX}acl_action_{word}_total", acl)
            for allowed, word in ((True, "allowed"), (False, "denied"))
        }

    def operation(self, operation: str, status: str, elapsed_ms: float) -> None:
        """An API call such as ``create_workflow``."""
        self._operation.record((self._namespace, operation, status), elapsed_ms)

    def execution(self, workflow: str, status: str, elapsed_ms: float) -> None:
        self._execution.record((self._namespace, workflow, status), elapsed_ms)

    def activity_operation(self, activity: str, status: str, elapsed_ms: float) -> None:
        self._activity_operation.record((self._namespace, activity, status), elapsed_ms)

    def activity_execution(self, activity: str, status: str, elapsed_ms: float) -> None:
        self._activity_execution.record((self._namespace, activity, status), elapsed_ms)

    def scheduled(self, workflow: str, delay_ms: float) -> None:
        """A workflow began ``delay_ms`` after it was asked for."""
        self._scheduling.at(self._namespace, workflow).observe(delay_ms)

    def payload(self, workflow: str, ratio: float, activity: str = "") -> None:
        """A payload's size by the limit of a message."""
        if activity:
            self._activity_payload.at(self._namespace, workflow, activity).observe(ratio)
        else:
            self._payload.at(self._namespace, workflow).observe(ratio)

    def acl(self, allowed: bool, source: str, operation: str, kind: str) -> None:
        """A ``WorkflowAccessPolicy`` decided."""
        self._acl[allowed].at(source, operation, kind).add()
