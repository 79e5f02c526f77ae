"""Which actor types the app hosts here, with what settings, and how it is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import ActorApp, TypeSettings
from dapr_sidecar.blocks.actors.names import RESERVED_PREFIX

_LOG = get_logger("dapr.runtime.actors")


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """One app side that hosts types."""

    app: ActorApp
    settings: Mapping[str, TypeSettings]


Changed = Callable[[frozenset[str], frozenset[str]], None]
"""Told what was hosted and what is now."""


class Hosting:
    """The newest registration of a type gets its calls.

    Types are hosted only while there is a store for their state and the app is healthy.
    ``foreign`` says which are not this app's to host.
    """

    def __init__(self, foreign: Callable[[str], bool] = lambda actor_type: False) -> None:
        self.changed: Changed = lambda before, after: None
        self._foreign = foreign
        self._registrations: list[Registration] = []
        self._last: dict[str, TypeSettings] = {}
        self._store = False
        self._healthy = True
        self._closed = False
        self.types: frozenset[str] = frozenset()
        self.ended = asyncio.Event()
        """Set when the last actor was let go: nothing more is said to an app's stream."""

    def register(self, app: ActorApp, settings: Mapping[str, TypeSettings]) -> Registration:
        """The app hosts these types; those that belong to another app are left out."""
        registration = Registration(app, self._own(settings))
        self._registrations.append(registration)
        self._look()
        return registration

    def unregister(self, registration: Registration) -> None:
        """It does no more."""
        self._registrations.remove(registration)
        self._look()

    def app(self, actor_type: str) -> ActorApp | None:
        """Who gets the calls of a type."""
        for registration in reversed(self._registrations):
            if actor_type in registration.settings:
                return registration.app
        return None

    def settings(self, actor_type: str) -> TypeSettings | None:
        """The settings of a type that is hosted here now."""
        return self.known_settings(actor_type) if actor_type in self.types else None

    def known_settings(self, actor_type: str) -> TypeSettings | None:
        """The settings of a type that is hosted or was."""
        return self._last.get(actor_type)

    def set_store(self, available: bool) -> None:
        """Whether there is an actor state store."""
        self._store = available
        self._look()

    def set_healthy(self, healthy: bool) -> None:
        """Whether the app takes calls."""
        self._healthy = healthy
        self._look()

    def close(self) -> None:
        """Host nothing more."""
        self._closed = True
        self._look()

    def _own(self, settings: Mapping[str, TypeSettings]) -> Mapping[str, TypeSettings]:
        # Placement would refuse this sidecar with all its types.
        foreign = [name for name in settings if self._foreign(name)]
        for name in foreign:
            _LOG.error(
                "actor type '%s' is not hosted: names that begin with %s are the runtime's own, "
                "and an app may host only those of its own namespace and app id "
                "(%s<namespace>.<app id>.<name>); rename the type",
                name,
                RESERVED_PREFIX,
                RESERVED_PREFIX,
            )
        return {name: kept for name, kept in settings.items() if name not in foreign}

    def _look(self) -> None:
        named: dict[str, TypeSettings] = {}
        for registration in self._registrations:
            named |= registration.settings
        self._last |= named
        open_ = self._store and self._healthy and not self._closed
        before, self.types = self.types, frozenset(named) if open_ else frozenset()
        if before != self.types:
            self.changed(before, self.types)
