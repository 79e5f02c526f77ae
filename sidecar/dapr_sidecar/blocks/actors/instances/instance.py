"""One active actor, and what all actors of a type share."""

from __future__ import annotations

import asyncio

from dapr_sidecar.blocks.actors.base import ActorRef, TypeSettings
from dapr_sidecar.blocks.actors.table import TypeTable
from dapr_sidecar.blocks.actors.turns import TurnLock


class Instance(TurnLock):
    """An actor that was called since its activation. Times are the loop's."""

    __slots__ = ("id", "kind", "last_start", "table")

    def __init__(self, kind: TypeInstances, actor_id: str, now: float) -> None:
        super().__init__()
        self.kind = kind
        self.id = actor_id
        self.last_start = now
        self.table: TypeTable | None = None
        """The table that is known to give the actor to this sidecar."""

    @property
    def ref(self) -> ActorRef:
        """Which actor it is."""
        return ActorRef(self.kind.name, self.id)


class TypeInstances:
    """The active actors of one type."""

    __slots__ = ("cut", "ended", "instances", "leaving", "name", "running", "settings")

    def __init__(self, name: str, settings: TypeSettings) -> None:
        self.name = name
        self.settings = settings
        self.instances: dict[str, Instance] = {}
        self.leaving: dict[str, asyncio.Future[None]] = {}
        """Ids whose deactivation is under way."""
        self.running: dict[asyncio.Task[object], Instance] = {}
        """Turns that run, by the task that runs them."""
        self.cut: set[asyncio.Task[object]] = set()
        """Those that were told to end."""
        self.ended: asyncio.Event | None = None
        """Set when a turn ends, while somebody waits for that."""
