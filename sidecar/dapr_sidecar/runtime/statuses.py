"""How each resource of this sidecar fares: loaded, failed and why, or still to come."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from dapr_sidecar.blocks.component_health import ComponentState, State
from dapr_sidecar.runtime.resources import Key, Resources

LoadState = Literal["loaded", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class Status:
    """One resource. ``version`` is the Kubernetes resource version this is about."""

    state: LoadState
    message: str
    version: str
    since: datetime


class StatusBook:
    """Written by whoever loads resources; ``changed`` is set for whoever tells others."""

    def __init__(self) -> None:
        self._entries: dict[Key, Status] = {}
        self._unreadable: dict[Key, Status] = {}
        self._versions: Mapping[Key, str] = {}
        self.changed = asyncio.Event()

    @property
    def entries(self) -> Mapping[Key, Status]:
        """Everything known now. A version that cannot be read stands before the one in use."""
        return self._entries | self._unreadable

    def components_not_loaded(self) -> Iterator[ComponentState]:
        """Components that could not be loaded, and those that are still to come."""
        for (kind, name), status in self.entries.items():
            if kind == "Component" and status.state != "loaded":
                state: State = "failing" if status.state == "failed" else "pending"
                yield ComponentState(name, state, status.since, status.message)

    def set(self, kind: str, name: str, state: LoadState, message: str = "") -> None:
        """Take down how a resource fares."""
        self._put(self._entries, (kind, name), state, message)

    def keep(self, kind: str, names: Collection[str]) -> None:
        """Forget the resources of a kind that are not among these."""
        for key in [key for key in self._entries if key[0] == kind and key[1] not in names]:
            del self._entries[key]
            self.changed.set()

    def seen(self, resources: Resources, unchanged: Collection[Key] = ()) -> None:
        """What is taken down from now on is about these resources.

        Of ``unchanged`` ones only the version is new, not what they say.
        """
        self._versions, faults = resources.versions, resources.faults
        for key in self._unreadable.keys() - faults.keys():
            del self._unreadable[key]
            self.changed.set()
        for key, fault in faults.items():
            self._put(self._unreadable, key, "failed", fault)
        for key in unchanged:
            entry, version = self._entries.get(key), self._versions.get(key, "")
            if entry is not None and entry.version != version:
                self._entries[key] = replace(entry, version=version)
                self.changed.set()

    def _put(self, table: dict[Key, Status], key: Key, state: LoadState, message: str) -> None:
        before = table.get(key)
        since = datetime.now(UTC)
        if before is not None and (before.state, before.message) == (state, message):
            since = before.since
        status = Status(state, message, self._versions.get(key, ""), since)
        if status != before:
            table[key] = status
            self.changed.set()
