"""What a sidecar reports of itself, built from its Configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_common.kube.resources import Configuration
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_sidecar.options import Options
from dapr_sidecar.resiliency.report import Report
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry, latency_bounds
from dapr_sidecar.telemetry.tracing import build_tracing

_LOG = get_logger("dapr.runtime")


class Telemetry:
    """Tracer, registry and the reporters of each server.

    Raises ``TracingError`` or ``MetricsError``.
    """

    def __init__(
        self,
        options: Options,
        configuration: Configuration,
        namespace: str,
        environment: Mapping[str, str],
    ) -> None:
        spec: Mapping[str, Any] = configuration.spec
        # Both spellings are in use; Dapr reads the plural over the singular.
        metering: dict[str, Any] = {**(spec.get("metric") or {}), **(spec.get("metrics") or {})}
        http: Mapping[str, Any] = metering.get("http") or {}
        bounds = latency_bounds(metering)
        error_codes = metering.get("recordErrorCodes") is True
        self.metering = options.metrics_enabled and metering.get("enabled") is not False
        if self.metering and http.get("increasedCardinality") is None:
            _LOG.warning(
                "metrics.http.increasedCardinality is not set: HTTP metrics get a label for each "
                "path. Set it to false to save memory, or to true to keep them"
            )
        self.registry = build_registry(options.app_id, metering)
        # Blocks count in any case; switched off, nobody sees it.
        counted = self.registry if self.metering else Registry()
        self.metrics = SidecarMetrics(counted, namespace, bounds, http)
        self.tracing = build_tracing(spec.get("tracing") or {}, environment, options.app_id)
        tracer = self.tracing.tracer
        registry = self.registry if self.metering else None
        self.http = HttpServerTelemetry(tracer, registry, bounds, http, error_codes=error_codes)
        self.grpc = GrpcServerTelemetry(
            tracer, registry, bounds, app_id=options.app_id, error_codes=error_codes
        )

    def resiliency_report(self) -> Report:
        """Where policies count what they do."""
        return self.metrics.resiliency
