"""What a sidecar reports of itself, as one Configuration wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_common.kube.resources import Configuration
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_sidecar.options import Options
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry, latency_bounds
from dapr_sidecar.telemetry.tracing import Tracing, build_tracing

_LOG = get_logger("dapr.runtime")


class Metering:
    """Registry and counters of one ``spec.metrics``. Raises ``MetricsError``."""

    def __init__(self, options: Options, spec: Mapping[str, Any], namespace: str) -> None:
        self.spec = spec
        self.http: Mapping[str, Any] = spec.get("http") or {}
        self.bounds = latency_bounds(spec)
        self.error_codes = spec.get("recordErrorCodes") is True
        self.enabled = options.metrics_enabled and spec.get("enabled") is not False
        if self.enabled and self.http.get("increasedCardinality") is None:
            _LOG.warning(
                "metrics.http.increasedCardinality is not set: HTTP metrics get a label for each "
                "path. Set it to false to save memory, or to true to keep them"
            )
        self.registry = build_registry(options.app_id, spec)
        # Blocks count in any case; switched off, nobody sees it.
        counted = self.registry if self.enabled else Registry()
        self.metrics = SidecarMetrics(counted, namespace, self.bounds, self.http)


class Telemetry:
    """Tracer, registry and the reporters of each server.

    Parts whose settings are those of ``before`` are taken from there, so that counters go on.
    Raises ``TracingError`` or ``MetricsError``.
    """

    def __init__(
        self,
        options: Options,
        configuration: Configuration,
        namespace: str,
        environment: Mapping[str, str],
        before: Telemetry | None = None,
    ) -> None:
        spec: Mapping[str, Any] = configuration.spec
        self.tracing_spec: Mapping[str, Any] = spec.get("tracing") or {}
        # Both spellings are in use; Dapr reads the plural over the singular.
        metering: dict[str, Any] = {**(spec.get("metric") or {}), **(spec.get("metrics") or {})}
        self.tracing: Tracing
        if before is not None and before.tracing_spec == self.tracing_spec:
            self.tracing = before.tracing
        else:
            self.tracing = build_tracing(self.tracing_spec, environment, options.app_id)
        self.metering: Metering
        if before is not None and before.metering.spec == metering:
            self.metering = before.metering
        else:
            self.metering = Metering(options, metering, namespace)
        self.metrics: SidecarMetrics = self.metering.metrics
        self.registry: Registry = self.metering.registry
        self.http, self.grpc = self._servers(options.app_id)

    def _servers(self, app_id: str) -> tuple[HttpServerTelemetry, GrpcServerTelemetry]:
        metering, tracer = self.metering, self.tracing.tracer
        registry, bounds = metering.registry if metering.enabled else None, metering.bounds
        return (
            HttpServerTelemetry(
                tracer, registry, bounds, metering.http, error_codes=metering.error_codes
            ),
            GrpcServerTelemetry(
                tracer, registry, bounds, app_id=app_id, error_codes=metering.error_codes
            ),
        )
