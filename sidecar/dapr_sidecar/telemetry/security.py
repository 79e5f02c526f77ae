"""Metrics of this sidecar's identity."""

from __future__ import annotations

from dapr_common.observe.metrics import Registry

_PREFIX = "dapr_runtime_mtls_"


class SecurityMetrics:
    """Counts of certificates fetched and renewed; ``reason`` is given when that failed."""

    def __init__(self, registry: Registry) -> None:
        self._initialised = registry.counter(f"{_PREFIX}init_total")
        self._init_failed = registry.counter(f"{_PREFIX}init_fail_total", ("reason",))
        self._rotated = registry.counter(f"{_PREFIX}workload_cert_rotated_total")
        self._rotation_failed = registry.counter(
            f"{_PREFIX}workload_cert_rotated_fail_total", ("reason",)
        )

    def initialised(self, reason: str = "") -> None:
        (self._init_failed.at(reason) if reason else self._initialised.at()).add()

    def rotated(self, reason: str = "") -> None:
        (self._rotation_failed.at(reason) if reason else self._rotated.at()).add()
