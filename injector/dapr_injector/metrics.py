"""Every metric of the injector."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry


class InjectorMetrics:
    """Counters by app id."""

    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter(
            "dapr_injector_sidecar_injection_requests_total", text="admission requests received"
        ).at()
        self.succeeded = registry.counter(
            "dapr_injector_sidecar_injection_succeeded_total", ["app_id"], "pods patched"
        )
        self.failed = registry.counter(
            "dapr_injector_sidecar_injection_failed_total",
            ["app_id", "reason"],
            "pods that got no sidecar although somebody seems to have wanted one",
        )
