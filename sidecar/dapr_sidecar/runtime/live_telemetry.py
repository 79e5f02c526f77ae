"""The telemetry of the day, and stand-ins for those who keep a reporter for good."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from dapr_common.errors import GrpcCode
from dapr_common.observe.metrics import Registry
from dapr_sidecar.resiliency.report import Flow, PolicyKind, Report
from dapr_sidecar.runtime.telemetry import Telemetry
from dapr_sidecar.telemetry.base import Metrics
from dapr_sidecar.telemetry.tracing import Tracing

_LAST_SPANS_SECONDS = 5.0


class LiveTelemetry:
    """Holds the telemetry in use; what it is exchanged for takes over at once.

    ``metrics``, ``resiliency`` and ``registry`` stand for those of the day. They cost a look-up
    more than the real ones, which whoever can read anew at each call should take.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self.now: Telemetry = telemetry
        self.metrics = cast(Metrics, _CurrentMetrics(self))
        self.resiliency = _CurrentReport(self)
        self.registry: Registry = _CurrentRegistry(self)
        self._leaving: set[asyncio.Task[None]] = set()
        telemetry.tracing.tell_losses(self._spans_lost)

    def swap(self, telemetry: Telemetry) -> None:
        """Use another one; spans that are under way still reach their exporter."""
        old, self.now = self.now, telemetry
        if telemetry.metrics is not old.metrics:
            self.resiliency.tell_again()
        if telemetry.metrics is not old.metrics or telemetry.tracing is not old.tracing:
            telemetry.tracing.tell_losses(self._spans_lost)
        if telemetry.tracing is not old.tracing:
            telemetry.tracing.start()
            task = asyncio.create_task(_close_later(old.tracing), name="last-spans")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Export the last spans."""
        leaving = list(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await self.now.tracing.close()

    def _spans_lost(self, exporter: str, count: int) -> None:
        # Told by exporters that were exchanged meanwhile, too.
        self.now.metrics.traces.lost(exporter, count)

    # --- identity events --------------------------------------------------------------------

    def initialised(self, reason: str = "") -> None:
        """Count the first identity."""
        self.now.metrics.security.initialised(reason)

    def rotated(self, reason: str = "") -> None:
        """Count a renewal of the identity."""
        self.now.metrics.security.rotated(reason)


class _CurrentMetrics:
    """Stands for ``telemetry.base.Metrics``; what is told with every call is spelled out."""

    def __init__(self, live: LiveTelemetry) -> None:
        self._live = live

    def grpc_client(
        self, method: str, code: GrpcCode, elapsed_ms: float, sent: int, received: int
    ) -> None:
        self._live.now.metrics.grpc_client(method, code, elapsed_ms, sent, received)

    def http_client(
        self, method: str, path: str, status: int, elapsed_ms: float, sent: int, received: int
    ) -> None:
        self._live.now.metrics.http_client(method, path, status, elapsed_ms, sent, received)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live.now.metrics, name)


class _CurrentReport:
    """Implements ``resiliency.report.Report``."""

    def __init__(self, live: LiveTelemetry) -> None:
        self._live = live
        self._loaded: tuple[str, str] | None = None

    def loaded(self, name: str, namespace: str) -> None:
        self._loaded = (name, namespace)
        self._report.loaded(name, namespace)

    def executed(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        self._report.executed(policy, flow, target, status)

    def activated(self, policy: PolicyKind, flow: Flow, target: str, status: str = "") -> None:
        self._report.activated(policy, flow, target, status)

    def breaker_state(self, flow: Flow, target: str, status: str) -> None:
        self._report.breaker_state(flow, target, status)

    def tell_again(self) -> None:
        """Other metrics are in use, which do not know what was loaded."""
        if self._loaded is not None:
            self._report.loaded(*self._loaded)

    @property
    def _report(self) -> Report:
        return self._live.now.metrics.resiliency


class _CurrentRegistry(Registry):
    def __init__(self, live: LiveTelemetry) -> None:
        super().__init__()
        self._live = live

    def render(self) -> bytes:
        return self._live.now.registry.render()


async def _close_later(tracing: Tracing) -> None:
    try:
        await asyncio.sleep(_LAST_SPANS_SECONDS)
    finally:
        await tracing.close()
