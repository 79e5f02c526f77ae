"""What a sidecar is to load, whatever the source: filtered by namespace and scope."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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
    versions: Mapping[Key, str] = field(default_factory=dict)
    """Kubernetes resource versions, where there are some."""

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
            _refuse_duplicate(self.components, resource, "Component")
            self.components.append(resource)
        elif isinstance(resource, HttpEndpoint):
            _refuse_duplicate(self.http_endpoints, resource, "HTTPEndpoint")
            self.http_endpoints.append(resource)
        elif isinstance(resource, Subscription):
            _refuse_duplicate(self.subscriptions, resource, "Subscription")
            self.subscriptions.append(resource)
        else:
            _refuse_duplicate(self.resiliencies, resource, "Resiliency")
            self.resiliencies.append(resource)


class Source(Protocol):
    """Where resources come from: a disk, or the operator."""

    def read(self) -> Resources:
        """Everything as it is now. Raises ``SourceError``."""

    async def follow(self, changed: asyncio.Event) -> None:
        """Set the event whenever ``read`` may give something else, until cancelled."""


def _refuse_duplicate(existing: Sequence[_Scoped], resource: _Scoped, kind: str) -> None:
    for other in existing:
        if resource.name and other.name == resource.name:
            raise DuplicateResourceError(
                f"duplicate definition of {kind} name {_shown(resource)} "
                f"with existing {_shown(other)}"
            )


def _shown(resource: _Scoped) -> str:
    return resource.log_name if isinstance(resource, Component) else resource.name
