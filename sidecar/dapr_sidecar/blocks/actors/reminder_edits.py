"""What a batch of changes makes of the reminders in the store; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.reminder import Reminder, to_entry
from dapr_sidecar.blocks.actors.reminder_layout import (
    MOST_PARTITIONS,
    Layout,
    Record,
    encode_entry,
)
from dapr_sidecar.blocks.actors.times import TimeFormatError, parse_moment

_MICROSECOND = 2e-6
_FULL, _ROOMY = 100, 16
"""Reminders in a record: so many are too many, and so many are aimed at."""
_FEWEST = 16

Pieces = dict[tuple[str, str], bytes]


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
    """Records as they were read, and what edits make of them.

    A reminder is a piece of JSON, by actor id and name; most pieces nobody looks into.
    """

    layout: Layout
    _records: dict[Record, Pieces] = field(default_factory=dict)
    _changed: dict[Record, None] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def load(self, record: Record, pieces: Pieces) -> None:
        """Take a record as it stands in the store; ``pieces`` are changed."""
        self._records[record] = pieces

    def apply(self, edit: Edit) -> None:
        """Make one change. Raises ``AlreadyExistsError``."""
        if isinstance(edit, Put):
            self._put(edit)
        elif isinstance(edit, Remove):
            self._remove(edit)
        else:
            self._remove_all(edit)

    def changed(self) -> list[tuple[Record, Pieces]]:
        """The records that are to be written."""
        return [(record, self._records[record]) for record in self._changed]

    def _put(self, edit: Put) -> None:
        reminder = edit.reminder
        record = self.layout.record_of(*reminder.key)
        pieces = self._records[record]
        found = pieces.get(reminder.key)
        if found is not None and not edit.overwrite:
            raise AlreadyExistsError(reminder.name)
        pieces[reminder.key] = encode_entry(to_entry(reminder))
        self._note(record, Change(reminder.ref, reminder.name, reminder, _has_track(found)))

    def _remove(self, edit: Remove) -> None:
        key = edit.ref.id, edit.name
        record = self.layout.record_of(*key)
        pieces = self._records[record]
        piece = pieces.get(key)
        if piece is None or (edit.due is not None and not _began(piece, edit.due)):
            return
        del pieces[key]
        self._note(record, Change(edit.ref, edit.name, None, _has_track(piece)))

    def _remove_all(self, edit: RemoveAll) -> None:
        for record, pieces in self._records.items():
            gone = [key for key in pieces if edit.actor_id is None or key[0] == edit.actor_id]
            for key in gone:
                ref = ActorRef(self.layout.actor_type, key[0])
                self._note(record, Change(ref, key[1], None, _has_track(pieces.pop(key))))

    def _note(self, record: Record, change: Change) -> None:
        self._changed[record] = None
        self.changes.append(change)


def wanted_partitions(layout: Layout, fullest: int, most: int | None) -> int | None:
    """More partitions, when a record has become so full that each change costs too much."""
    if fullest <= _FULL:
        return None
    total = fullest * max(layout.partitions, 1)
    wanted = max(1 << (total // _ROOMY).bit_length(), _FEWEST)
    wanted = min(wanted, MOST_PARTITIONS, most or MOST_PARTITIONS)
    return wanted if wanted > layout.partitions else None


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


def _has_track(piece: bytes | None) -> bool:
    return piece is not None and bool(orjson.loads(piece).get("period"))


def _began(piece: bytes, due: float) -> bool:
    text = str(orjson.loads(piece).get("registeredTime") or "")
    try:
        # A moment in memory may be finer than the text that was made of it.
        return abs((parse_moment(text, 0) if text else 0.0) - due) < _MICROSECOND
    except TimeFormatError:
        return False
