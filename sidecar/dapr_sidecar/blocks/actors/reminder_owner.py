"""Which reminders this sidecar runs: loads them as placement settles, lets go of them in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import ActorRouter, Owner, Ownership, SettingsOf
from dapr_sidecar.blocks.actors.reminder_edits import Change
from dapr_sidecar.blocks.actors.reminder_firing import ReminderFiring, Scheduled
from dapr_sidecar.blocks.actors.reminder_type import Key, TypeReminders
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.reminders")
_LOOK_SECONDS = 30.0
_FLUSH_SECONDS = 5.0
_DRAIN_SECONDS = 2.0
_MOST_NOTICES = 100


class Notices(Protocol):
    """Tells the sidecar that owns actors that their reminders changed."""

    async def changed(self, owner: Owner, actor_type: str, keys: Sequence[Key]) -> None:
        """Raises whatever keeps it from being told."""
        ...


class ReminderOwner:
    """Implements ``OwnershipListener`` and ``Keeper`` for reminders in the actor state store."""

    def __init__(
        self,
        context: SidecarContext,
        store: ActorStore,
        router: ActorRouter,
        ownership: Ownership,
        settings: SettingsOf,
        notices: Notices,
        *,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._context = context
        self._store = store
        self._ownership = ownership
        self._settings = settings
        self._notices = notices
        self._look_seconds = look_seconds
        self._types: dict[str, TypeReminders] = {}
        self._firing = ReminderFiring(context, store, router, ownership, self)
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._stale: dict[str, set[Key]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def of(self, actor_type: str) -> TypeReminders:
        """The reminders of a type; anybody may edit them."""
        found = self._types.get(actor_type)
        if found is None:
            found = TypeReminders(self._store, self._ownership, actor_type, self._stored)
            found.firing = self._firing
            self._types[actor_type] = found
        return found

    # --- when types move --------------------------------------------------------------------

    async def leaving(self, types: frozenset[str]) -> None:
        """Start nothing more; return once what ran is noted in the store."""
        mine = [held for held in self._types.values() if held.type in types]
        try:
            await self._cancel_loads(types)
            await self._firing.end_runs(types, self._drain_seconds)
            await asyncio.gather(*(held.editor.flush(_FLUSH_SECONDS) for held in mine))
        finally:  # also when there was no time left for the rest
            for held in mine:
                held.clear()
                self._count(held)

    def settled(self, types: frozenset[str]) -> None:
        """Load what is this sidecar's now."""
        for actor_type in types & self._ownership.hosted:
            self._load(actor_type)

    async def store_changed(self) -> None:
        """Another store, another set of reminders."""
        await self._cancel_loads(frozenset(self._types))
        for held in self._types.values():
            held.clear()
            self._count(held)
        if self._store.is_there:
            self.settled(self._ownership.hosted)

    def changed(self, actor_type: str, keys: Iterable[Key]) -> None:
        """Another sidecar stored changes to reminders of actors that are owned here."""
        held = self._types.get(actor_type)
        if held is None or self._closed:
            return
        waiting = self._stale.get(actor_type)
        if waiting is not None:
            waiting.update(keys)
            return
        self._stale[actor_type] = set(keys)
        self._spawn(self._refresh(held))

    async def look(self) -> None:
        """Now and then, see for oneself: a notice that got lost only delays. Runs for ever."""
        while True:
            await asyncio.sleep(self._look_seconds * random.uniform(0.9, 1.1))  # noqa: S311
            for held in list(self._types.values()):
                if held.loaded:
                    await self._try(held.refresh(), held.type)
                    self._count(held)

    async def close(self, seconds: float = _FLUSH_SECONDS) -> None:
        """Run nothing more, store what waits; half the time is for either."""
        self._closed = True
        await self._cancel_loads(frozenset(self._types))
        await self._firing.close(seconds / 2)
        await asyncio.gather(*(h.editor.close(seconds / 2) for h in self._types.values()))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- Keeper -----------------------------------------------------------------------------

    def is_current(self, scheduled: Scheduled) -> bool:
        held = self._types.get(scheduled.ref.type)
        return held is not None and held.is_current(scheduled)

    def finished(self, scheduled: Scheduled) -> None:
        held = self.of(scheduled.ref.type)
        held.finished(scheduled)
        self._count(held)

    def moved(self, scheduled: Scheduled) -> None:
        held = self.of(scheduled.ref.type)
        held.forget(scheduled)
        self._count(held)

    # --- inside -----------------------------------------------------------------------------

    def _drain_seconds(self, actor_type: str) -> float:
        settings = self._settings(actor_type)
        if settings is None:
            return _DRAIN_SECONDS
        return settings.drain_timeout if settings.drain_rebalanced else 0.0

    def _load(self, actor_type: str) -> None:
        if self._closed or not self._store.is_there or actor_type in self._loads:
            return
        settings = self._settings(actor_type)
        partitions = 0 if settings is None else settings.reminder_partitions
        held = self.of(actor_type)

        async def load() -> None:
            await held.load(partitions)
            self._count(held)

        task = self._loads[actor_type] = self._spawn(load())
        task.add_done_callback(lambda done: self._load_ended(actor_type, done))

    def _load_ended(self, actor_type: str, task: asyncio.Task[None]) -> None:
        if self._loads.get(actor_type) is task:
            del self._loads[actor_type]

    async def _cancel_loads(self, types: frozenset[str]) -> None:
        tasks = [task for kind, task in self._loads.items() if kind in types]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _refresh(self, held: TypeReminders) -> None:
        while keys := self._stale.pop(held.type, None):
            self._stale[held.type] = set()
            if (load := self._loads.get(held.type)) is not None:
                await asyncio.wait([load])  # it may have read past the change already
            if not held.loaded:
                self._stale.pop(held.type, None)
                return  # the load that is to come reads it all
            await self._try(held.refresh(keys), held.type)
            self._count(held)

    async def _try(self, work: Coroutine[Any, Any, None], actor_type: str) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the next look tries again
            _LOG.warning("changes to reminders of %s cannot be read: %s", actor_type, error)

    def _stored(self, actor_type: str, changes: Sequence[Change]) -> None:
        """Tell the owners of what was stored here for them."""
        held = self._types.get(actor_type)
        if held is not None:
            self._count(held)
        told: dict[Owner, list[Key]] = {}
        for change in changes:
            owner = self._ownership.owner(change.ref)
            if owner is not None and not owner.local:
                told.setdefault(owner, []).append((change.ref.id, change.name))
        for owner, keys in told.items():
            if len(self._tasks) < _MOST_NOTICES:
                self._spawn(self._notify(owner, actor_type, keys))

    async def _notify(self, owner: Owner, actor_type: str, keys: Sequence[Key]) -> None:
        try:
            await self._notices.changed(owner, actor_type, keys)
        except Exception as error:  # noqa: BLE001 - the owner looks for itself before long
            text = "%s could not be told that reminders of %s changed: %s"
            _LOG.info(text, owner.address, actor_type, error)

    def _count(self, held: TypeReminders) -> None:
        self._context.metrics.actors.reminders(held.type, held.count)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="actor-reminders")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
