"""Every metric of the operator."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry


class OperatorMetrics:
    """Counters and gauges, bound once."""

    def __init__(self, registry: Registry) -> None:
        self.created = registry.counter(
            "dapr_operator_service_created_total", ["app_id"], "<app id>-dapr Services created"
        )
        self.deleted = registry.counter(
            "dapr_operator_service_deleted_total", ["app_id"], "<app id>-dapr Services removed"
        )
        self.updated = registry.counter(
            "dapr_operator_service_updated_total", ["app_id"], "<app id>-dapr Services updated"
        )
        self.healed = registry.counter(
            "dapr_operator_watchdog_pods_deleted_total",
            text="pods deleted because they were left without a sidecar",
        ).at()
        self.refused = registry.counter(
            "dapr_operator_admission_refused_total",
            ["kind", "reason"],
            "resources the validating webhook refused, by the first thing wrong with them",
        )
        self.leading = registry.gauge(
            "dapr_operator_leader", text="1 while this operator leads, else 0"
        ).at()
        self.identity = registry.counter(
            "dapr_operator_identity_total", ["outcome"], "certificates asked for, and what came"
        )

    def initialised(self, reason: str = "") -> None:
        """The first certificate."""
        self.identity.at(reason or "issued").add()

    def rotated(self, reason: str = "") -> None:
        """Every other one."""
        self.identity.at(reason or "issued").add()
