"""One type's reminders on this sidecar: what the store has, and which of it is scheduled here."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

from dapr_common.grpc.backoff import Backoff
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import ActorRef, Ownership
from dapr_sidecar.blocks.actors.reminder import Reminder, Track, from_entry, from_track
from dapr_sidecar.blocks.actors.reminder_editor import ReminderEditor
from dapr_sidecar.blocks.actors.reminder_edits import Change, Remove
from dapr_sidecar.blocks.actors.reminder_firing import ReminderFiring, Scheduled
from dapr_sidecar.blocks.actors.reminder_layout import Entry, Layout, Record, track_key
from dapr_sidecar.blocks.actors.reminder_plan import first_tick
from dapr_sidecar.blocks.actors.reminder_records import Content, Head, ReminderRecords
from dapr_sidecar.blocks.actors.reminder_writer import Written
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.blocks.actors.times import TimeFormatError, parse_period
from dapr_sidecar.components.state.base import EtagError, GetRequest

_LOG = get_logger("dapr.runtime.actors.reminders")
_TRACKS_AT_ONCE = 500
_BREATH = 500
"""So many entries are looked at before others get their turn on the loop."""

Key = tuple[str, str]
OnForeign = Callable[[str, Sequence[Change]], None]
"""Told of changes stored here, by type; those of actors of other sidecars are for these."""


class TypeReminders:
    """Loaded while this sidecar hosts the type and placement has settled; else it only edits."""

    def __init__(
        self,
        store: ActorStore,
        ownership: Ownership,
        actor_type: str,
        on_stored: OnForeign,
    ) -> None:
        self.type = actor_type
        self.loaded = False
        self.firing: ReminderFiring | None = None
        self._store = store
        self._ownership = ownership
        self._on_stored = on_stored
        self.records = ReminderRecords(store, actor_type)
        self.editor = ReminderEditor(self.records, self._written, self._take_layout)
        self._layout = Layout(actor_type)
        self._scheduled: dict[Record, dict[Key, Scheduled]] = {}
        self._digests: dict[Record, bytes] = {}
        self._head_etag: str | None = None
        self._cleared = 0
        """How often everything was let go: what was being read then counts for nothing."""

    # --- asked by others --------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many reminders are scheduled here."""
        return sum(map(len, self._scheduled.values()))

    def is_current(self, scheduled: Scheduled) -> bool:
        """Whether this is what the schedule has under its name."""
        key = scheduled.reminder.key
        record = self._layout.record_of(*key)
        return self._scheduled.get(record, {}).get(key) is scheduled

    def finished(self, scheduled: Scheduled) -> None:
        """It runs no more: take it out here and delete it in the store."""
        reminder = scheduled.reminder
        self.forget(scheduled)
        self.editor.remove_later(Remove(reminder.ref, reminder.name, reminder.due))

    def forget(self, scheduled: Scheduled) -> None:
        """Take it out here; the store keeps it."""
        key = scheduled.reminder.key
        self._take_out(self._layout.record_of(*key), key)

    # --- reading ----------------------------------------------------------------------------

    async def load(self, partitions: int) -> None:
        """Read everything and schedule what is owned here; tried until it succeeds."""
        backoff = Backoff(0.5, 30.0)
        while True:
            cleared = self._cleared
            try:
                async with self.editor.writer.lock:
                    head = await self._spread_if_wanted(await self.records.head(), partitions)
                    self._take_layout(head)
                    await self._read(head.layout.records())
                if self._cleared == cleared:
                    self.loaded = True
                    return
            except EtagError:
                await asyncio.sleep(backoff.next())  # others spread it meanwhile
            except Exception as error:  # noqa: BLE001 - whatever the store says
                seconds = backoff.next()
                text = "reminders of %s cannot be read, next attempt in %.1f s: %s"
                _LOG.warning(text, self.type, seconds, error)
                await asyncio.sleep(seconds)

    async def refresh(self, keys: Iterable[Key] | None = None) -> None:
        """Read again what may have changed: the records of some reminders, or all of them."""
        async with self.editor.writer.lock:
            head = await self.records.head()
            if not self.loaded:
                return
            if keys is None and head.etag == self._head_etag:
                return
            if head.layout != self._layout:
                self._take_layout(head)
                keys = None
            layout = head.layout
            await self._read(
                layout.records() if keys is None else {layout.record_of(*k): None for k in keys}
            )
            if keys is None:
                self._head_etag = head.etag

    def clear(self) -> None:
        """Nothing of this type is scheduled here any more."""
        self.loaded = False
        self._cleared += 1
        for record, held in list(self._scheduled.items()):
            for key in list(held):
                self._take_out(record, key)
        self._scheduled.clear()
        self._digests.clear()
        self._head_etag = None

    async def _spread_if_wanted(self, head: Head, wanted: int) -> Head:
        have, most = head.layout.partitions, self.records.max_records
        if wanted < have:
            if wanted:
                text = (
                    "reminders of %s stay in %d partitions: fewer (remindersStoragePartitions "
                    "is %d) are not possible"
                )
                _LOG.warning(text, self.type, have, wanted)
            return head
        if wanted == have:
            return head
        if most is not None and wanted > most:
            _LOG.warning(
                "reminders of %s are spread over %d partitions, not %d: the store takes no more "
                "operations in one transaction",
                self.type,
                most,
                wanted,
            )
            wanted = most
            if wanted <= have:
                return head
        _LOG.info("spreading the reminders of %s from %d to %d partitions", self.type, have, wanted)
        return await self.records.spread(await self.records.ensure_head(), wanted)

    def _take_layout(self, head: Head) -> None:
        if head.layout == self._layout:
            self._head_etag = head.etag
            return
        old = [scheduled for held in self._scheduled.values() for scheduled in held.values()]
        self._scheduled, self._digests = {}, {}
        self._layout, self._head_etag = head.layout, head.etag
        for scheduled in old:
            key = scheduled.reminder.key
            self._scheduled.setdefault(head.layout.record_of(*key), {})[key] = scheduled

    async def _read(self, records: Iterable[Record]) -> None:
        cleared = self._cleared
        for content in await self.records.read(list(records)):
            digest = content.digest
            if self._digests.get(content.record) != digest:
                await self._reconcile(content, cleared)
            if self._cleared != cleared:
                return
            self._digests[content.record] = digest

    async def _reconcile(self, content: Content, cleared: int) -> None:
        """Schedule what a record says, and nothing else of it."""
        gone = set(self._scheduled.get(content.record, ()))
        added: list[Reminder] = []
        for number, entry in enumerate(content.entries()):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            reminder = self._owned(entry)
            if reminder is None:
                continue
            gone.discard(reminder.key)
            known = self._scheduled.get(content.record, {}).get(reminder.key)
            if known is None or known.reminder != reminder:
                added.append(reminder)
        for key in gone:
            self._take_out(content.record, key)
        tracks = await self._tracks([r for r in added if r.period])
        if self._cleared != cleared:
            return
        for reminder in added:
            if not self.editor.is_leaving(reminder.key, reminder.due):
                self._schedule(content.record, reminder, tracks.get(reminder.key))

    def _owned(self, entry: Entry) -> Reminder | None:
        ref = ActorRef(self.type, str(entry.get("actorID", "")))
        owner = self._ownership.owner(ref)
        if owner is None or not owner.local:
            return None
        try:
            return from_entry({**entry, "actorType": self.type})
        except ValueError as error:
            _LOG.error("reminder %s of actor %s is not run: %s", entry.get("name"), ref, error)
            return None

    async def _tracks(self, reminders: Sequence[Reminder]) -> dict[Key, Track]:
        found: dict[Key, Track] = {}
        for start in range(0, len(reminders), _TRACKS_AT_ONCE):
            part = {track_key(r.ref, r.name): r.key for r in reminders[start:][:_TRACKS_AT_ONCE]}
            items = await self._store.bulk_get([GetRequest(key) for key in part])
            for key, item in items.items():
                if item.data and (track := from_track(item.data)) is not None:
                    found[part[key]] = track
        return found

    # --- the schedule -----------------------------------------------------------------------

    def _written(
        self, layout: Layout, changes: Sequence[Change], written: Sequence[Written]
    ) -> None:
        """A batch was stored: what concerns actors of this sidecar is scheduled at once."""
        if self.loaded:
            if layout != self._layout:
                self._take_layout(Head(layout, None))  # others spread it
            for change in changes:
                self._take_change(layout, change)
            for one in written:
                # Had somebody else written meanwhile, the record is read whole at the next look.
                known = self._digests.get(one.record)
                self._digests[one.record] = one.after if known == one.before else b""
        self._on_stored(self.type, changes)

    def _take_change(self, layout: Layout, change: Change) -> None:
        record = layout.record_of(change.ref.id, change.name)
        self._take_out(record, (change.ref.id, change.name))
        owner = self._ownership.owner(change.ref)
        if change.reminder is not None and owner is not None and owner.local:
            self._schedule(record, change.reminder, None)

    def _schedule(self, record: Record, reminder: Reminder, track: Track | None) -> None:
        self._take_out(record, reminder.key)
        try:
            period = parse_period(reminder.period)
        except TimeFormatError as error:
            text = "reminder %s of actor %s is not run: its period: %s"
            _LOG.error(text, reminder.name, reminder.ref, error)
            return
        tick, left = first_tick(reminder, period, track)
        scheduled = Scheduled(reminder, reminder.ref, period, tick, left)
        over = reminder.expires is not None and tick > reminder.expires
        if over or tick == math.inf or (left is not None and left <= 0):
            self.finished(scheduled)
            return
        self._scheduled.setdefault(record, {})[reminder.key] = scheduled
        if self.firing is not None:
            self.firing.put(scheduled)

    def _take_out(self, record: Record, key: Key) -> None:
        scheduled = self._scheduled.get(record, {}).pop(key, None)
        if scheduled is not None and self.firing is not None:
            self.firing.remove(scheduled)
