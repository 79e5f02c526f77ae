"""Reads Resiliency resources: policies by name, and which targets name which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from dapr_common.durations import parse_go_duration
from dapr_common.kube.resources import Resiliency
from dapr_sidecar.resiliency.breaker import BreakerPolicy
from dapr_sidecar.resiliency.codes import parse_codes
from dapr_sidecar.resiliency.retry import RetryPolicy
from dapr_sidecar.resiliency.trip import DEFAULT, compile_trip

APP_CACHE_SIZE = 100
ACTOR_CACHE_SIZE = 5000
_SCOPES = ("type", "id", "both")
V = TypeVar("V")


class SpecError(ValueError):
    """A resource cannot be used; the text names the field."""


@dataclass(frozen=True, slots=True)
class Names:
    """The policies a target names; "" for none."""

    timeout: str = ""
    retry: str = ""
    breaker: str = ""
    cache_size: int = APP_CACHE_SIZE
    per_id: bool = False
    """Only for actors: one breaker for each id."""


@dataclass(slots=True)
class Spec:
    """The contents of one resource, or of several merged."""

    timeouts: dict[str, float] = field(default_factory=dict)
    retries: dict[str, RetryPolicy] = field(default_factory=dict)
    breakers: dict[str, BreakerPolicy] = field(default_factory=dict)
    apps: dict[str, Names] = field(default_factory=dict)
    actors: dict[str, Names] = field(default_factory=dict)
    outbound: dict[str, Names] = field(default_factory=dict)
    inbound: dict[str, Names] = field(default_factory=dict)

    def merge(self, other: Spec) -> None:
        """Take over everything of ``other``; equal names are overwritten."""
        self.timeouts |= other.timeouts
        self.retries |= other.retries
        self.breakers |= other.breakers
        self.apps |= other.apps
        self.actors |= other.actors
        self.outbound |= other.outbound
        self.inbound |= other.inbound


def read_spec(resource: Resiliency) -> Spec:
    """Read one resource whole. Raises ``SpecError``."""
    policies = _section(resource.spec, "policies", "spec")
    targets = _section(resource.spec, "targets", "spec")
    components = _entries(targets, "components", "targets", _component)
    return Spec(
        timeouts=_entries(policies, "timeouts", "policies", _duration),
        retries=_entries(policies, "retries", "policies", _retry),
        breakers=_entries(policies, "circuitBreakers", "policies", _breaker),
        apps=_entries(targets, "apps", "targets", _app),
        actors=_entries(targets, "actors", "targets", _actor),
        outbound={name: entry[0] for name, entry in components.items()},
        inbound={name: entry[1] for name, entry in components.items()},
    )


def _section(parent: Mapping[str, object], name: str, where: str) -> Mapping[str, Any]:
    section = parent.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise SpecError(f"{where}.{name}: expected a mapping")
    return section


def _entries(
    parent: Mapping[str, Any], section: str, where: str, read: Callable[[Any, str], V]
) -> dict[str, V]:
    found: dict[str, V] = {}
    for key, value in _section(parent, section, where).items():
        path = f"{where}.{section}.{key}"
        try:
            found[str(key)] = read(value, path)
        except SpecError:
            raise
        except ValueError as error:
            raise SpecError(f"{path}: {error}") from error
    return found


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{path}: expected a mapping")
    return value


def _duration(value: Any, path: str) -> float:
    """Seconds of a Go duration, or of a bare number of milliseconds."""
    text = str(value).strip()
    if isinstance(value, bool):
        raise SpecError(f"{path}: expected a duration")
    try:
        return int(text) / 1000
    except ValueError:
        return parse_go_duration(text).total_seconds()


def _retry(value: Any, path: str) -> RetryPolicy:
    entry = _mapping(value, path)
    kind = str(entry.get("policy") or "constant").lower()
    if kind not in ("constant", "exponential"):
        raise SpecError(f'{path}.policy: expected constant or exponential, got "{kind}"')
    policy: Literal["constant", "exponential"] = "constant" if kind == "constant" else "exponential"
    matching = _mapping(entry.get("matching"), f"{path}.matching")
    return RetryPolicy(
        _last(path),
        policy,
        _given(entry, "duration", 5.0),
        _given(entry, "maxInterval", 60.0),
        _integer(entry, "maxRetries", -1, path),
        parse_codes(_text(matching, "httpStatusCodes"), _text(matching, "gRPCStatusCodes")),
    )


def _breaker(value: Any, path: str) -> BreakerPolicy:
    entry = _mapping(value, path)
    return BreakerPolicy(
        _last(path),
        # Zero means the default here, as for every number of a breaker.
        max(_integer(entry, "maxRequests", 1, path), 0) or 1,
        max(_given(entry, "interval", 0.0), 0.0),
        max(_given(entry, "timeout", 60.0), 0.0) or 60.0,
        compile_trip(_text(entry, "trip") or DEFAULT),
    )


def _app(value: Any, path: str) -> Names:
    entry = _mapping(value, path)
    size = _integer(entry, "circuitBreakerCacheSize", 0, path)
    return _names(entry, size if size > 0 else APP_CACHE_SIZE)


def _actor(value: Any, path: str) -> Names:
    entry = _mapping(value, path)
    scope = _text(entry, "circuitBreakerScope").lower()
    if _text(entry, "circuitBreaker"):
        if not scope:
            raise SpecError(f"{path}: actor circuit breakers must include scope")
        if scope not in _SCOPES:
            raise SpecError(f'{path}.circuitBreakerScope: expected type, id or both, got "{scope}"')
    size = _integer(entry, "circuitBreakerCacheSize", 0, path)
    return _names(entry, size if size > 0 else ACTOR_CACHE_SIZE, per_id=scope in ("id", "both"))


def _component(value: Any, path: str) -> tuple[Names, Names]:
    entry = _mapping(value, path)
    return (
        _names(_mapping(entry.get("outbound"), f"{path}.outbound")),
        _names(_mapping(entry.get("inbound"), f"{path}.inbound")),
    )


def _names(
    entry: Mapping[str, Any], cache_size: int = APP_CACHE_SIZE, *, per_id: bool = False
) -> Names:
    return Names(
        _text(entry, "timeout"),
        _text(entry, "retry"),
        _text(entry, "circuitBreaker"),
        cache_size,
        per_id,
    )


def _given(entry: Mapping[str, Any], name: str, default: float) -> float:
    value = entry.get(name)
    if value is None or value == "":
        return default
    try:
        return _duration(value, name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _integer(entry: Mapping[str, Any], name: str, default: int, path: str) -> int:
    value = entry.get(name)
    if value is None or value == "":
        return default
    try:
        if isinstance(value, bool):
            raise ValueError
        return int(str(value))
    except ValueError:
        raise SpecError(f'{path}.{name}: expected an integer, got "{value}"') from None


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return "" if value is None else str(value).strip()


def _last(path: str) -> str:
    return path.split(".", 2)[2]
