"""What a batch of changes makes of the reminders in the store; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import Reminder, to_entry
from dapr_sidecar.blocks.actors.reminder_layout import Entry, Layout, Record
from dapr_sidecar.blocks.actors.times import TimeFormatError, parse_moment

_MICROSECOND = 2e-6


@dataclass(frozen=True, slots=True)
class Put:
    """Store a reminder; without ``overwrite`` only where there is none of its name."""

    reminder: Reminder
    overwrite: bool = True


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a reminder; with ``due`` (of its first run) only while it is still that one."""

    ref: ActorRef
    name: str
    due: float | None = None


@dataclass(frozen=True, slots=True)
class RemoveAll:
    """Delete every reminder of an actor, or of the whole type."""

    actor_id: str | None = None


Edit = Put | Remove | RemoveAll


class AlreadyExistsError(Exception):
    """There is a reminder of this name, and it is not to be overwritten."""


@dataclass(frozen=True, slots=True)
class Change:
    """One reminder that is another than before; ``reminder=None``: it is gone."""

    ref: ActorRef
    name: str
    reminder: Reminder | None
    had_track: bool
    """Whether there was one of this name before that may have left a track."""


@dataclass(slots=True)
class Batch:
    """Records as they were read, and what edits make of them."""

    layout: Layout
    _records: dict[Record, dict[tuple[str, str], Entry]] = field(default_factory=dict)
    _changed: dict[Record, None] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def load(self, record: Record, entries: Iterable[Entry]) -> None:
        """Take a record as it stands in the store."""
        self._records[record] = {_key(entry): entry for entry in entries}

    def apply(self, edit: Edit) -> None:
        """Make one change. Raises ``AlreadyExistsError``."""
        if isinstance(edit, Put):
            self._put(edit)
        elif isinstance(edit, Remove):
            self._remove(edit)
        else:
            self._remove_all(edit)

    def changed(self) -> list[tuple[Record, list[Entry]]]:
        """The records that are to be written."""
        return [(record, list(self._records[record].values())) for record in self._changed]

    def _put(self, edit: Put) -> None:
        reminder = edit.reminder
        record = self.layout.record_of(*reminder.key)
        entries = self._records[record]
        found = entries.get(reminder.key)
        if found is not None and not edit.overwrite:
            raise AlreadyExistsError(reminder.name)
        entries[reminder.key] = to_entry(reminder)
        self._note(record, Change(reminder.ref, reminder.name, reminder, _has_track(found)))

    def _remove(self, edit: Remove) -> None:
        key = edit.ref.id, edit.name
        record = self.layout.record_of(*key)
        entries = self._records[record]
        entry = entries.get(key)
        if entry is None or (edit.due is not None and not _began(entry, edit.due)):
            return
        del entries[key]
        self._note(record, Change(edit.ref, edit.name, None, _has_track(entry)))

    def _remove_all(self, edit: RemoveAll) -> None:
        for record, entries in self._records.items():
            gone = [key for key in entries if edit.actor_id is None or key[0] == edit.actor_id]
            for key in gone:
                ref = ActorRef(self.layout.actor_type, key[0])
                self._note(record, Change(ref, key[1], None, _has_track(entries.pop(key))))

    def _note(self, record: Record, change: Change) -> None:
        self._changed[record] = None
        self.changes.append(change)


def records_of(layout: Layout, edits: Sequence[Edit]) -> list[Record]:
    """The records that edits concern."""
    found: dict[Record, None] = {}
    for edit in edits:
        if isinstance(edit, RemoveAll):
            return layout.records()
        key = edit.reminder.key if isinstance(edit, Put) else (edit.ref.id, edit.name)
        found[layout.record_of(*key)] = None
    return list(found)


def first_part(layout: Layout, edits: Sequence[Edit], most_records: int | None) -> int:
    """How many of the edits, from the first on, touch no more records than may be written."""
    if most_records is None or layout.partitions <= most_records:
        return len(edits)
    touched: set[Record] = set()
    for number, edit in enumerate(edits):
        if isinstance(edit, RemoveAll):
            # Such a type has more partitions than the store takes at once; alone it may fail,
            # and it must not make others fail.
            return max(number, 1)
        touched.update(records_of(layout, [edit]))
        if len(touched) > most_records:
            return number
    return len(edits)


def _key(entry: Entry) -> tuple[str, str]:
    return str(entry.get("actorID", "")), str(entry.get("name", ""))


def _has_track(entry: Entry | None) -> bool:
    return entry is not None and bool(entry.get("period"))


def _began(entry: Entry, due: float) -> bool:
    text = str(entry.get("registeredTime") or "")
    try:
        # A moment in memory may be finer than the text that was made of it.
        return abs((parse_moment(text, 0) if text else 0.0) - due) < _MICROSECOND
    except TimeFormatError:
        return False
