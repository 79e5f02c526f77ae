"""What actors keep and what wakes them: state, timers, reminders; made and run together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from dapr_common.grpc.server import Method
from dapr_sidecar.api.grpc import actor_notices
from dapr_sidecar.api.grpc import actor_state as grpc_actor_state
from dapr_sidecar.api.http import actor_state as http_actor_state
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors.base import (
    ActiveActors,
    ActorRouter,
    Owner,
    Ownership,
    SettingsOf,
)
from dapr_sidecar.blocks.actors.reminder_owner import ReminderOwner
from dapr_sidecar.blocks.actors.reminder_store import StoredReminders
from dapr_sidecar.blocks.actors.reminders import ReminderKeeper, Reminders
from dapr_sidecar.blocks.actors.state import ActorState
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.blocks.actors.timers import Timers
from dapr_sidecar.blocks.scheduler.reminders import SchedulerReminders
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.peers import Peers
from dapr_sidecar.messaging.reminder_notices import ReminderNotices
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.scheduler import SchedulerParts


@dataclass(frozen=True, slots=True)
class ActorSurroundings:
    """What these parts are made from. ``active`` and ``ownership`` live as long as the sidecar."""

    context: SidecarContext
    options: Options
    router: ActorRouter
    ownership: Ownership
    active: ActiveActors
    settings: SettingsOf
    peers: Peers
    scheduler: SchedulerParts


class ActorStateParts:
    """State, timers and reminders of one sidecar.

    Routes and methods are asked for only while placement is configured; a sidecar without it
    answers all of them with ``ERR_ACTOR_NO_PLACEMENT``.
    """

    def __init__(self, around: ActorSurroundings) -> None:
        context, ownership = around.context, around.ownership
        self._namespace = context.identity.invocation_namespace
        store = ActorStore(context)
        self._state = ActorState(context, store, ownership, around.active)
        self._timers = Timers(context, around.router, ownership)
        self._owner: ReminderOwner | None = None
        self._reminders = Reminders(self._keeper(around, store), ownership)
        ownership.listen(self._state)
        ownership.listen(self._state, last=True)  # for what turns write while they are drained

    def _keeper(self, around: ActorSurroundings, store: ActorStore) -> ReminderKeeper:
        """A scheduler where there is one; else the actor state store."""
        context, ownership, hosts = around.context, around.ownership, around.scheduler.hosts
        if hosts is not None:
            kept = SchedulerReminders(context, store, hosts, around.router)
            around.scheduler.take_reminders(kept, ownership)
            return kept
        owner = self._owner = ReminderOwner(
            context,
            store,
            around.router,
            ownership,
            around.settings,
            _Notices(ReminderNotices(around.peers, self._namespace)),
        )
        ownership.listen(owner)
        return StoredReminders(store, owner)

    def routes(self) -> list[Route]:
        """The HTTP API's routes."""
        return http_actor_state.routes(self._state, self._timers, self._reminders)

    def methods(self) -> list[Method]:
        """The gRPC API's methods."""
        return grpc_actor_state.methods(self._state, self._timers, self._reminders)

    def internal_methods(self) -> list[Method]:
        """What other sidecars may call."""
        owner = self._owner
        return [] if owner is None else actor_notices.methods(owner.changed, self._namespace)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin what runs until the sidecar stops."""
        if self._owner is not None:
            tasks.create_task(self._owner.look(), name="actor-reminders-look")

    async def store_changed(self) -> None:
        """The actor state store came, was replaced or went."""
        if self._owner is not None:
            await self._owner.store_changed()

    def cut_writes(self) -> None:
        """Give up writes for actors that have left."""
        self._state.cut()

    async def close(self, seconds: float) -> None:
        """Fire nothing more; what runs has so long to end."""
        closing = [self._timers.close(seconds)]
        if self._owner is not None:
            closing.append(self._owner.close(seconds))
        await asyncio.gather(*closing)


class _Notices:
    """Implements ``Notices`` over the connections to other sidecars."""

    def __init__(self, notices: ReminderNotices) -> None:
        self._notices = notices

    async def changed(self, owner: Owner, actor_type: str, keys: Sequence[tuple[str, str]]) -> None:
        await self._notices.changed(owner.address, owner.app_id, actor_type, keys)
