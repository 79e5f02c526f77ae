"""The last minutes of each sidecar's traffic, sampled while somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from dapr_common.observe.logs import get_logger
from dapr_dashboard.model import App, Source, SourceError
from dapr_dashboard.samples import Samples
from dapr_dashboard.sidecars import Sidecars

_LOG = get_logger("dapr.dashboard")
_POINTS = 120
_MOST_APPS = 100
_AWAKE_SECONDS = 600.0
_COUNTS = ("dapr_http_server_request_count", "dapr_grpc_io_server_completed_rpcs")
# What the dashboard and probes ask themselves is no traffic of the app.
_NO_TRAFFIC = ("/v1.0/healthz", "/v1.0/metadata")
_LATENCIES = ("dapr_http_server_latency", "dapr_grpc_io_server_server_latency")


@dataclass(frozen=True, slots=True)
class Point:
    """Counters at one moment. ``at`` in seconds of a steady clock, latency in milliseconds."""

    at: float
    requests: float
    latency_ms: float
    latency_count: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Between two points. ``mean_ms`` is 0 when nothing was asked."""

    per_second: float
    mean_ms: float


class History:
    """``run`` samples every ``seconds``; pages say with ``wanted`` that somebody looks."""

    def __init__(self, source: Source, sidecars: Sidecars, seconds: float) -> None:
        self.seconds = seconds
        self._source = source
        self._sidecars = sidecars
        self._points: dict[str, deque[Point]] = {}
        self._looked = asyncio.Event()
        self._looked_at = 0.0

    def wanted(self) -> None:
        """Sample for some minutes more."""
        self._looked_at = time.monotonic()
        self._looked.set()

    def rates(self, app: App) -> list[Rate]:
        """The oldest first."""
        return rates(self._points.get(app.path, ()))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._looked.wait()
            if time.monotonic() - self._looked_at > _AWAKE_SECONDS:
                self._looked.clear()
                self._points.clear()
                continue
            try:
                await self.sample()
            except SourceError as error:
                _LOG.debug("No samples: %s", error)
            await asyncio.sleep(self.seconds)

    async def sample(self) -> None:
        """One point of every app. Raises ``SourceError``."""
        apps = (await self._source.apps())[:_MOST_APPS]
        urls = [app.place.metrics for app in apps]
        found = await asyncio.gather(*(self._sidecars.samples(url) for url in urls if url))
        self._forget(apps)
        now, scrapes = time.monotonic(), iter(found)
        for app in apps:
            if app.place.metrics and (samples := next(scrapes)).values:
                self._points.setdefault(app.path, deque(maxlen=_POINTS)).append(point(samples, now))

    def _forget(self, apps: Iterable[App]) -> None:
        there = {app.path for app in apps}
        self._points = {path: kept for path, kept in self._points.items() if path in there}


def point(samples: Samples, now: float) -> Point:
    """What is kept of a scrape."""
    return Point(
        now,
        sum(_total(samples, name) or _total(samples, f"{name}_total") for name in _COUNTS),
        sum(_total(samples, f"{name}_sum") for name in _LATENCIES),
        sum(_total(samples, f"{name}_count") for name in _LATENCIES),
    )


def _total(samples: Samples, name: str) -> float:
    series = samples.of(name)
    return sum(n for labels, n in series if not labels.get("path", "").startswith(_NO_TRAFFIC))


def rates(points: Iterable[Point]) -> list[Rate]:
    """Of neighbours; a counter that has begun again gives none."""
    found = []
    for before, after in pairwise(points):
        seconds, requests = after.at - before.at, after.requests - before.requests
        if seconds <= 0 or requests < 0:
            continue
        answered = after.latency_count - before.latency_count
        mean = (after.latency_ms - before.latency_ms) / answered if answered > 0 else 0.0
        found.append(Rate(requests / seconds, max(mean, 0.0)))
    return found
