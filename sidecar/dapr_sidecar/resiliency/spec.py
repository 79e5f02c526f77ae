"""Reads Resiliency resources: policies by name, and which targets name which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dapr_common.kube.resources import Resiliency
from dapr_common.resiliency.policies import (
    BreakerPolicy,
    RetryPolicy,
    SpecError,
    read_breaker,
    read_retry,
    read_timeout,
)
from dapr_common.resiliency.targets import Names, read_actor, read_app, read_component

__all__ = ["Spec", "SpecError", "read_spec"]

V = TypeVar("V")


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
    components = _entries(targets, "components", "targets", read_component)
    return Spec(
        timeouts=_entries(policies, "timeouts", "policies", read_timeout),
        retries=_entries(policies, "retries", "policies", read_retry),
        breakers=_entries(policies, "circuitBreakers", "policies", read_breaker),
        apps=_entries(targets, "apps", "targets", read_app),
        actors=_entries(targets, "actors", "targets", read_actor),
        outbound={name: entry[0] for name, entry in components.items()},
        inbound={name: entry[1] for name, entry in components.items()},
    )


def _section(parent: Mapping[str, object], name: str, where: str) -> Mapping[str, Any]:
    section = parent.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise SpecError(f"{where}.{name}", "expected a mapping")
    return section


def _entries(
    parent: Mapping[str, Any], section: str, where: str, read: Callable[[Any, str], V]
) -> dict[str, V]:
    found = _section(parent, section, where)
    return {str(key): read(value, f"{where}.{section}.{key}") for key, value in found.items()}
