"""What connected sidecars say of their resources. Pure: no I/O, no time of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus, SidecarReport

LOADED, FAILED = ResourceStatus.LOADED, ResourceStatus.FAILED
_MOST_RESOURCES = 5000
_MOST_MESSAGE = 1000

Name = tuple[str, str]
"""Word of the kind, and name."""


@dataclass(frozen=True, slots=True)
class State:
    """What became of one resource in one sidecar."""

    state: ResourceStatus.State
    message: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One connected sidecar's newest words."""

    namespace: str
    app_id: str
    pod: str
    states: Mapping[Name, State] = field(default_factory=dict)


def read(report: SidecarReport, namespace: str, app_id: str) -> Sidecar:
    """A report of a sidecar whose identity is known."""
    states = {
        (one.kind, one.name): State(one.state, one.message[:_MOST_MESSAGE], _since(one))
        for one in report.resources[:_MOST_RESOURCES]
    }
    return Sidecar(namespace, app_id, report.pod[:253], states)


class ReportBook:
    """Sidecars by the stream they report on; streams are any objects.

    ``changed`` gets the namespace and the resource; an empty name stands for every resource of
    the namespace, when a sidecar came or went.
    """

    def __init__(self, changed: Callable[[str, Name], None]) -> None:
        self._changed = changed
        self._by_namespace: dict[str, dict[object, Sidecar]] = {}

    def put(self, stream: object, sidecar: Sidecar) -> list[tuple[Name, State]]:
        """Replace what the stream said. Returns failures that are new."""
        sidecars = self._by_namespace.setdefault(sidecar.namespace, {})
        before = sidecars.get(stream)
        sidecars[stream] = sidecar
        if before is None or before.pod != sidecar.pod:
            self._changed(sidecar.namespace, ("", ""))
        old: Mapping[Name, State] = {} if before is None else before.states
        for name in old.keys() | sidecar.states.keys():
            if old.get(name) != sidecar.states.get(name):
                self._changed(sidecar.namespace, name)
        return [
            (name, state)
            for name, state in sidecar.states.items()
            if state.state == FAILED and old.get(name) != state
        ]

    def forget(self, stream: object, namespace: str) -> None:
        """The stream has ended."""
        sidecars = self._by_namespace.get(namespace, {})
        if sidecars.pop(stream, None) is not None:
            self._changed(namespace, ("", ""))
        if not sidecars:
            self._by_namespace.pop(namespace, None)

    def of_namespace(self, namespace: str) -> Iterator[Sidecar]:
        """The sidecars of a namespace."""
        return iter(self._by_namespace.get(namespace, {}).values())

    @property
    def namespaces(self) -> list[str]:
        """Where sidecars report from."""
        return list(self._by_namespace)


def _since(status: ResourceStatus) -> datetime | None:
    return status.since.ToDatetime(tzinfo=UTC) if status.HasField("since") else None
