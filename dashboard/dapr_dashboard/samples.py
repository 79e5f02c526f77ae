"""Prometheus text → the few numbers the pages show. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
_BREAKER = "dapr_resiliency_cb_state"


@dataclass(frozen=True, slots=True)
class Samples:
    """One scrape: by sample name, labels and value."""

    values: Mapping[str, tuple[tuple[Labels, float], ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[tuple[Labels, float], ...]:
        """Every series of one name."""
        return self.values.get(name, ())

    def total(self, name: str) -> float:
        """The sum of all series."""
        return sum(value for _, value in self.of(name))


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker as a sidecar has it now."""

    resiliency: str
    target: str
    direction: str
    state: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one kind since the sidecar started. Times in milliseconds; -1 is not known."""

    what: str
    count: float
    failed: float
    mean_ms: float
    p95_ms: float


def parse(text: str) -> Samples:
    """Raises ``ValueError`` for what is no such text."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Samples({name: tuple(series) for name, series in found.items()})


def breakers(samples: Samples) -> list[Breaker]:
    """Each breaker that a sidecar has used, with the state it is in."""
    return [
        Breaker(
            labels.get("name", ""),
            labels.get("target", ""),
            labels.get("flow_direction", ""),
            labels.get("status", "unknown"),
        )
        for labels, value in samples.of(_BREAKER)
        if value == 1
    ]


def http_traffic(samples: Samples) -> list[Traffic]:
    """Requests to the sidecar's HTTP API, by method and path."""
    return _traffic(
        samples,
        "dapr_http_server_request_count",
        "dapr_http_server_latency",
        ("method", "path"),
        lambda labels: labels.get("status", "")[:1] in ("4", "5"),
    )


def grpc_traffic(samples: Samples) -> list[Traffic]:
    """Calls to its gRPC servers, by method."""
    return _traffic(
        samples,
        "dapr_grpc_io_server_completed_rpcs",
        "dapr_grpc_io_server_server_latency",
        ("grpc_server_method",),
        lambda labels: labels.get("grpc_server_status", "OK") not in ("OK", ""),
    )


_COMPONENT_KINDS = {
    "state": "state",
    "pubsub_egress": "publish",
    "pubsub_ingress": "deliver",
    "input_binding": "input binding",
    "output_binding": "output binding",
    "configuration": "configuration",
    "secret": "secret",
    "crypto": "crypto",
}


def component_traffic(samples: Samples) -> list[Traffic]:
    """What the sidecar asked of its components."""
    found: list[Traffic] = []
    for kind, word in _COMPONENT_KINDS.items():
        by = ("component", "topic", "operation")
        found += [
            Traffic(f"{word} {each.what}", each.count, each.failed, each.mean_ms, each.p95_ms)
            for each in _traffic(
                samples,
                f"dapr_component_{kind}_count",
                f"dapr_component_{kind}_latencies",
                by,
                _component_failed,
            )
        ]
    return found


def _component_failed(labels: Labels) -> bool:
    return labels.get("success") == "false" or labels.get("process_status") in ("retry", "drop")


def _traffic(
    samples: Samples,
    count: str,
    latency: str,
    by: tuple[str, ...],
    failed: Callable[[Labels], bool],
) -> list[Traffic]:
    counts: dict[str, float] = {}
    failures: dict[str, float] = {}
    for labels, value in _counted(samples, count):
        key = _key(labels, by)
        counts[key] = counts.get(key, 0) + value
        failures[key] = failures.get(key, 0) + (value if failed(labels) else 0)
    return [
        Traffic(key, total, failures[key], *_times(samples, latency, by, key))
        for key, total in sorted(counts.items(), key=lambda each: -each[1])
        if total
    ]


def _counted(samples: Samples, name: str) -> Iterable[tuple[Labels, float]]:
    return samples.of(name) or samples.of(f"{name}_total")


def _key(labels: Labels, by: tuple[str, ...]) -> str:
    return " ".join(labels[name] for name in by if labels.get(name))


def _times(samples: Samples, latency: str, by: tuple[str, ...], key: str) -> tuple[float, float]:
    """Mean and 95th percentile, the latter as near as buckets tell."""
    counted = _sum(samples, f"{latency}_count", by, key)
    if not counted:
        return -1.0, -1.0
    buckets: dict[float, float] = {}
    for labels, value in samples.of(f"{latency}_bucket"):
        if _key(labels, by) == key:
            edge = float(labels.get("le", "+Inf"))
            buckets[edge] = buckets.get(edge, 0) + value
    mean = _sum(samples, f"{latency}_sum", by, key) / counted
    return mean, _percentile(buckets, 0.95)


def _sum(samples: Samples, name: str, by: tuple[str, ...], key: str) -> float:
    return sum(value for labels, value in samples.of(name) if _key(labels, by) == key)


def _percentile(buckets: Mapping[float, float], share: float) -> float:
    """By linear interpolation inside the bucket, as Prometheus does it; -1 without buckets."""
    edges = sorted(buckets)
    if not edges or not buckets[edges[-1]]:
        return -1.0
    wanted = buckets[edges[-1]] * share
    below, counted = 0.0, 0.0
    for edge in edges:
        if buckets[edge] >= wanted:
            if edge == float("inf"):
                return below
            inside = buckets[edge] - counted
            return below + (edge - below) * ((wanted - counted) / inside if inside else 1.0)
        below, counted = edge, buckets[edge]
    return below
