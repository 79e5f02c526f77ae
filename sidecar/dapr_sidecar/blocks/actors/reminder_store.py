"""Reminders in the actor state store: the default."""

from __future__ import annotations

import time
from typing import Any

from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import ReminderRequest, ReminderView, from_entry, view
from dapr_sidecar.blocks.actors.reminder_edits import Put, Remove, RemoveAll
from dapr_sidecar.blocks.actors.reminder_layout import Entry, Record
from dapr_sidecar.blocks.actors.reminder_owner import ReminderOwner
from dapr_sidecar.blocks.actors.reminder_plan import plan
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.components.state import encoding


class StoredReminders:
    """Implements ``ReminderKeeper``. Answers after a change is stored."""

    def __init__(self, store: ActorStore, owner: ReminderOwner) -> None:
        self._store = store
        self._owner = owner

    def check(self) -> None:
        """Without an actor state store there is nowhere to keep them."""
        self._store.check()

    async def create(self, request: ReminderRequest) -> None:
        """Store it; raises ``ValueError`` for times that cannot be used."""
        reminder = plan(request, time.time())
        edit = Put(reminder, request.overwrite)
        await self._owner.of(request.ref.type).editor.edit(edit)

    async def get(self, ref: ActorRef, name: str) -> ReminderView | None:
        """Read it from the store: others may have written it."""
        held = self._owner.of(ref.type)
        head = await held.records.head()
        [content] = await held.records.read([head.layout.record_of(ref.id, name)])
        piece = held.editor.writer.find(content, (ref.id, name))
        if piece is None:
            return None
        entry: Any = encoding.loads(piece)
        return _view(ref.type, entry)

    async def delete(self, ref: ActorRef, name: str) -> None:
        """Delete it; a missing one is fine."""
        await self._owner.of(ref.type).editor.edit(Remove(ref, name))

    async def delete_all(self, actor_type: str, actor_id: str | None) -> None:
        """Delete all of an actor, or of the type."""
        await self._owner.of(actor_type).editor.edit(RemoveAll(actor_id))

    async def list(self, actor_type: str, actor_id: str | None) -> list[ReminderView]:
        """Read all of an actor, or of the type."""
        records = self._owner.of(actor_type).records
        head = await records.head()
        wanted: list[Record] = head.layout.records()
        return [
            _view(actor_type, entry)
            for content in await records.read(wanted)
            for entry in content.entries()
            if actor_id is None or entry.get("actorID") == actor_id
        ]


def _view(actor_type: str, entry: Entry) -> ReminderView:
    return view(from_entry({**entry, "actorType": actor_type}))
