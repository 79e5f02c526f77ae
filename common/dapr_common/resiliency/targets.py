"""The entries of ``spec.targets`` of a Resiliency: which policies whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.resiliency.policies import SpecError, integer, mapping, text_of

APP_CACHE_SIZE = 100
ACTOR_CACHE_SIZE = 5000
_SCOPES = ("type", "id", "both")


@dataclass(frozen=True, slots=True)
class Names:
    """The policies a target names; "" for none."""

    timeout: str = ""
    retry: str = ""
    breaker: str = ""
    cache_size: int = APP_CACHE_SIZE
    per_id: bool = False
    """Only for actors: one breaker for each id."""


def read_app(value: Any, path: str) -> Names:
    """One app. Raises ``SpecError``."""
    entry = mapping(value, path)
    size = integer(entry, "circuitBreakerCacheSize", 0, path)
    return _names(entry, size if size > 0 else APP_CACHE_SIZE)


def read_actor(value: Any, path: str) -> Names:
    """One actor type. Raises ``SpecError``."""
    entry = mapping(value, path)
    scope = text_of(entry, "circuitBreakerScope").lower()
    if text_of(entry, "circuitBreaker"):
        if not scope:
            raise SpecError(path, "actor circuit breakers must include scope")
        if scope not in _SCOPES:
            reason = f'expected type, id or both, got "{scope}"'
            raise SpecError(f"{path}.circuitBreakerScope", reason)
    size = integer(entry, "circuitBreakerCacheSize", 0, path)
    return _names(entry, size if size > 0 else ACTOR_CACHE_SIZE, per_id=scope in ("id", "both"))


def read_component(value: Any, path: str) -> tuple[Names, Names]:
    """One component: outbound, inbound. Raises ``SpecError``."""
    entry = mapping(value, path)
    return (
        _names(mapping(entry.get("outbound"), f"{path}.outbound")),
        _names(mapping(entry.get("inbound"), f"{path}.inbound")),
    )


def _names(
    entry: Mapping[str, Any], cache_size: int = APP_CACHE_SIZE, *, per_id: bool = False
) -> Names:
    return Names(
        text_of(entry, "timeout"),
        text_of(entry, "retry"),
        text_of(entry, "circuitBreaker"),
        cache_size,
        per_id,
    )
