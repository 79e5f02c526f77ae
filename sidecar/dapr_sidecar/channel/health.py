"""App health checks: a probe loop and the rules of when the app counts as healthy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Literal

from google.protobuf import empty_pb2

from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.telemetry.base import Metrics

_LOG = get_logger("dapr.apphealth")
_HEALTH_CHECK = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"


class HealthState:
    """Initially unhealthy; failures below the threshold add up until the app was unhealthy."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._failures = 0
        self.healthy = False

    def report(self, success: bool) -> bool:
        """Take one probe's outcome; returns whether the state changed."""
        if success:
            # Dapr's rule: a success does not reset the count while the app counts as healthy.
            if self.healthy:
                return False
            self._failures = 0
            self.healthy = True
            return True
        self._failures += 1
        if self.healthy and self._failures >= self._threshold:
            self.healthy = False
            return True
        return False


class AppHealthProber:
    """Probes one app."""

    def __init__(
        self,
        channel: HttpChannel | AppGrpcChannel,
        *,
        path: str,
        interval: float,
        timeout: float,
        threshold: int,
        metrics: Metrics,
    ) -> None:
        self._channel = channel
        self._path = b"/" + path.lstrip("/").encode()
        self._interval = interval
        self._timeout = timeout
        self._state = HealthState(threshold)
        self._metrics = metrics
        self._protocol: Literal["http", "grpc"] = channel.kind

    async def run(self, on_change: Callable[[bool], Awaitable[None]]) -> None:
        """Probe until cancelled; the first probe is made at once.

        The interval is from one beginning to the next: an app that hangs is found as early as one
        that refuses.
        """
        self._channel.healthy = False
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if self._state.report(await self._probe()):
                healthy = self._state.healthy
                self._channel.healthy = healthy
                _LOG.info("App entered %s status", "healthy" if healthy else "un-healthy")
                await on_change(healthy)
            due = max(due + self._interval, clock())
            await asyncio.sleep(due - clock())

    async def _probe(self) -> bool:
        started = perf_counter()
        status = "0"
        try:
            async with asyncio.timeout(self._timeout):
                status = await self._ask()
        except Exception as error:  # noqa: BLE001 - any failure is an unhealthy app
            _LOG.debug("app health probe failed: %s", error)
        elapsed = (perf_counter() - started) * 1000
        self._metrics.health_probe(self._protocol, status, elapsed)
        return status == "OK" or status.startswith("2")

    async def _ask(self) -> str:
        channel = self._channel
        if isinstance(channel, HttpChannel):
            response = await channel.request("GET", self._path, [], probe=True)
            await response.read()
            return str(response.status)
        await channel.unary(
            _HEALTH_CHECK,
            empty_pb2.Empty(),
            appcallback_pb2.HealthCheckResponse,
            timeout=self._timeout,
            probe=True,
        )
        return "OK"
