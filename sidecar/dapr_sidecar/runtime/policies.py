"""The resiliency policies in use: exchanged while calls run, one that is wrong changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.kube.resources import Resiliency
from dapr_common.observe.logs import get_logger
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.resiliency.runner import Surroundings
from dapr_sidecar.resiliency.spec import SpecError, read_spec
from dapr_sidecar.runtime.statuses import StatusBook

_LOG = get_logger("dapr.runtime")
_KIND = "Resiliency"


class PolicySet:
    """Owns ``context.policies``."""

    def __init__(self, context: SidecarContext, around: Surroundings, statuses: StatusBook) -> None:
        self._context = context
        self._around = around
        self._statuses = statuses
        self._found: Sequence[Resiliency] | None = None
        self._used: Sequence[Resiliency] = ()

    def names(self) -> list[str]:
        """The resources in use."""
        return [resource.name for resource in self._used]

    def take(self, found: Sequence[Resiliency]) -> None:
        """Use these; of one that cannot be read the version before stays in use."""
        if found == self._found:
            return
        self._found = list(found)
        before = {resource.name: resource for resource in self._used}
        self._statuses.keep(_KIND, [resource.name for resource in found])
        usable = [self._usable(resource, before.get(resource.name)) for resource in found]
        used = [resource for resource in usable if resource is not None]
        if used != list(self._used):
            self._used = tuple(used)
            self._context.policies = LoadedPolicies(
                self._used, self._context.identity.app_id, around=self._around
            )
            _LOG.info("Resiliency policies in use: %s", ", ".join(self.names()) or "none")

    def _usable(self, resource: Resiliency, before: Resiliency | None) -> Resiliency | None:
        try:
            read_spec(resource)
        except SpecError as error:
            _LOG.error("Could not load resiliency policy %s: %s", resource.name, error)
            after = "it is not used" if before is None else "the version before stays in use"
            self._statuses.set(_KIND, resource.name, "failed", f"{error}; {after}")
            return before
        self._statuses.set(_KIND, resource.name, "loaded")
        return resource
