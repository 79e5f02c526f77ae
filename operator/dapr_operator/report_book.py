"""What connected sidecars say of their resources. Pure: no I/O, no time of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from dapr_common.wire.daprpy.operator.v1.status_pb2 import ResourceStatus, SidecarReport

LOADED, FAILED = ResourceStatus.LOADED, ResourceStatus.FAILED
_MOST_RESOURCES = 5000
_MOST_MESSAGE = 1000
_MOST_NAME = 253

Name = tuple[str, str]
"""Word of the kind, and name."""


@dataclass(frozen=True, slots=True)
class State:
    """What became of one resource in one sidecar."""

    state: ResourceStatus.State
    message: str = ""
    since: datetime | None = None


_IS_LOADED = State(LOADED)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One connected sidecar's newest words. ``others`` are those that are not loaded."""

    namespace: str
    app_id: str
    pod: str
    loaded: frozenset[Name] = frozenset()
    others: Mapping[Name, State] = field(default_factory=dict)

    def state(self, name: Name) -> State | None:
        """What it said of one resource, if anything."""
        return _IS_LOADED if name in self.loaded else self.others.get(name)


def read(report: SidecarReport, namespace: str, app_id: str) -> Sidecar:
    """A report of a sidecar whose identity is known."""
    loaded: list[Name] = []
    others: dict[Name, State] = {}
    for one in report.resources[:_MOST_RESOURCES]:
        name = (one.kind, one.name[:_MOST_NAME])
        if one.state == LOADED:
            loaded.append(name)
        else:
            others[name] = State(one.state, one.message[:_MOST_MESSAGE], _since(one))
    return Sidecar(namespace, app_id, report.pod[:_MOST_NAME], frozenset(loaded), others)


class ReportBook:
    """Sidecars by the stream they report on; streams are any objects.

    ``changed`` gets the namespace and the resource; an empty name stands for every resource of
    the namespace, when a sidecar came or went. A thousand sidecars that loaded the same are one
    set of names.
    """

    def __init__(self, changed: Callable[[str, Name], None]) -> None:
        self._changed = changed
        self._by_namespace: dict[str, dict[object, Sidecar]] = {}
        self._sets: WeakValueDictionary[frozenset[Name], frozenset[Name]] = WeakValueDictionary()

    def put(self, stream: object, sidecar: Sidecar) -> list[tuple[Name, State]]:
        """Replace what the stream said. Returns failures that are new."""
        loaded = self._sets.setdefault(sidecar.loaded, sidecar.loaded)
        sidecar = Sidecar(sidecar.namespace, sidecar.app_id, sidecar.pod, loaded, sidecar.others)
        sidecars = self._by_namespace.setdefault(sidecar.namespace, {})
        before = sidecars.get(stream)
        sidecars[stream] = sidecar
        if before is None or before.pod != sidecar.pod:
            self._changed(sidecar.namespace, ("", ""))
        for name in _differences(before or Sidecar("", "", ""), sidecar):
            self._changed(sidecar.namespace, name)
        return [
            (name, state)
            for name, state in sidecar.others.items()
            if state.state == FAILED and (before is None or before.state(name) != state)
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


def _differences(before: Sidecar, after: Sidecar) -> set[Name]:
    names = before.others.keys() | after.others.keys()
    changed = {name for name in names if before.state(name) != after.state(name)}
    if before.loaded is not after.loaded:
        changed |= before.loaded ^ after.loaded
    return changed


def _since(status: ResourceStatus) -> datetime | None:
    if not status.HasField("since"):
        return None
    try:
        return status.since.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):  # a moment outside the calendar
        return None
