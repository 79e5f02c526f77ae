"""What a sidecar is to load, whatever the source: filtered by namespace and scope."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from dapr_common.kube.manifests import Resource
from dapr_common.kube.resources import (
    Component,
    Configuration,
    HttpEndpoint,
    Resiliency,
    Subscription,
)

Key = tuple[str, str]
"""Kind, as manifests spell it, and name."""

_Scoped = Component | HttpEndpoint | Resiliency | Subscription
R = TypeVar("R", Component, HttpEndpoint, Resiliency, Subscription)


class SourceError(Exception):
    """Resources cannot be read now; what is loaded stays."""


class DuplicateResourceError(SourceError):
    """Two in-scope resources of one kind and name."""


@dataclass(slots=True)
class Resources:
    """What this sidecar is to load, in the order of the source."""

    components: list[Component] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    http_endpoints: list[HttpEndpoint] = field(default_factory=list)
    resiliencies: list[Resiliency] = field(default_factory=list)
    configurations: list[Configuration] = field(default_factory=list)
    """Those found among the other resources; which one counts is the source's matter."""
    configuration: Configuration = field(default_factory=Configuration)
    """The active one, as it was written: neither checked nor completed."""
    faults: Mapping[Key, str] = field(default_factory=dict)
    """What could not be read, and why."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Required components of which there is nothing that could be loaded, and why."""
    versions: Mapping[Key, str] = field(default_factory=dict)
    """Kubernetes resource versions, where there are some."""
    _names: set[Key] = field(default_factory=set, repr=False)

    def add(self, resource: Resource, app_id: str, namespace: str) -> None:
        """Take a resource that is meant for this app. Raises ``DuplicateResourceError``."""
        if isinstance(resource, Configuration):
            self.configurations.append(resource)
            return
        if resource.scopes and app_id not in resource.scopes:
            return
        if namespace and resource.namespace and resource.namespace != namespace:
            return
        if isinstance(resource, Component):
            self._take("Component", self.components, resource)
        elif isinstance(resource, HttpEndpoint):
            self._take("HTTPEndpoint", self.http_endpoints, resource)
        elif isinstance(resource, Subscription):
            self._take("Subscription", self.subscriptions, resource)
        else:
            self._take("Resiliency", self.resiliencies, resource)

    def _take(self, kind: str, taken: list[R], resource: R) -> None:
        key = (kind, resource.name)
        if resource.name and key in self._names:
            existing = next(one for one in taken if one.name == resource.name)
            raise DuplicateResourceError(
                f"duplicate definition of {kind} name {_shown(resource)} "
                f"with existing {_shown(existing)}"
            )
        self._names.add(key)
        taken.append(resource)


class Source(Protocol):
    """Where resources come from: a disk, or the operator."""

    def read(self) -> Resources:
        """Everything as it is now. Raises ``SourceError``."""

    async def follow(self, changed: asyncio.Event) -> None:
        """Set the event whenever ``read`` may give something else, until cancelled."""


def _shown(resource: _Scoped) -> str:
    return resource.log_name if isinstance(resource, Component) else resource.name
