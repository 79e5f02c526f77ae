"""Query options as parameters and headers of Consul's HTTP API. No I/O."""

from __future__ import annotations

from datetime import timedelta

from dapr_sidecar.components.nameresolution.consul.settings import QueryOptions

Parameters = list[tuple[str, str]]


def parameters(options: QueryOptions) -> Parameters:
    """What goes into the URL."""
    texts: dict[str, str | bool] = {
        "ns": options.namespace,
        "partition": options.partition,
        "dc": options.datacenter,
        "stale": options.allow_stale,
        "consistent": options.require_consistent,
        "index": str(options.wait_index or ""),
        "wait": milliseconds(options.wait_time),
        "hash": options.wait_hash,
        "near": options.near,
        "filter": options.filter,
        "relay-factor": str(options.relay_factor or ""),
        "local-only": options.local_only,
        "connect": options.connect,
        "cached": _may_be_cached(options),
    }
    found = [(name, _text(value)) for name, value in texts.items() if value]
    return found + [("node-meta", f"{key}:{value}") for key, value in options.node_meta.items()]


def headers(options: QueryOptions) -> dict[str, str]:
    """What goes beside it."""
    found: dict[str, str] = {}
    if options.token:
        found["X-Consul-Token"] = options.token
    if _may_be_cached(options):
        ages = (("max-age", options.max_age), ("stale-if-error", options.stale_if_error))
        limits = [f"{name}={age.total_seconds():.0f}" for name, age in ages if age > timedelta(0)]
        if limits:
            found["Cache-Control"] = ", ".join(limits)
    return found


def milliseconds(duration: timedelta) -> str:
    """A duration as Consul takes it; at least one millisecond, nothing for none."""
    if duration <= timedelta(0):
        return ""
    return f"{max(1, duration // timedelta(milliseconds=1))}ms"


def _may_be_cached(options: QueryOptions) -> bool:
    return options.use_cache and not options.require_consistent


def _text(value: str | bool) -> str:
    return "true" if value is True else str(value)
