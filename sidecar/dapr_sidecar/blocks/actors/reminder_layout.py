"""Where reminders stand in a store: the records and keys of Dapr up to 1.14, read and written."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_sidecar.blocks.actors.base import SEPARATOR, ActorRef
from dapr_sidecar.blocks.actors.compact import compact
from dapr_sidecar.blocks.actors.times import format_moment
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json

_NO_ID = "00000000-0000-0000-0000-000000000000"
_PROTOBUF = b"\x00pb"
_FNV_START, _FNV_PRIME = 0x811C9DC5, 0x01000193
_COUNTS = "actorRemindersMetadata"
MOST_PARTITIONS = 4096
"""Into so many records reminders of a type are spread at the most."""
_MOST_READ = 1 << 16
"""Somebody else may have taken more; beyond this the record of them is not believed."""

Entry = dict[str, Any]
"""One reminder as JSON has it; see ``reminder.to_entry``."""


class LayoutError(Exception):
    """A record of the store is not what Dapr writes there; the text names it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record's key, and the key of the partition it is in."""

    key: str
    partition: str


@dataclass(frozen=True, slots=True)
class Layout:
    """How the reminders of one type are spread. No partitions: one record, unnumbered."""

    actor_type: str
    id: str = _NO_ID
    partitions: int = 0

    def record_of(self, actor_id: str, name: str) -> Record:
        """The record a reminder is in."""
        if not self.partitions:
            return self._whole()
        return self._numbered(partition_of(actor_id, name, self.partitions))

    def records(self) -> list[Record]:
        """Every record."""
        if not self.partitions:
            return [self._whole()]
        return [self._numbered(number) for number in range(1, self.partitions + 1)]

    def _whole(self) -> Record:
        key = f"actors{SEPARATOR}{self.actor_type}"
        return Record(key, key)

    def _numbered(self, number: int) -> Record:
        parts = ("actors", self.actor_type, self.id, "reminders", str(number))
        return Record(SEPARATOR.join(parts), self.id)


def metadata_record(actor_type: str) -> Record:
    """The record that says how a type's reminders are spread."""
    partition = f"actors{SEPARATOR}{actor_type}"
    return Record(f"{partition}{SEPARATOR}metadata", partition)


def track_key(ref: ActorRef, name: str) -> str:
    """The key of a reminder's track."""
    return f"{ref}{SEPARATOR}{name}"


def partition_of(actor_id: str, name: str, partitions: int) -> int:
    """Which of the partitions, counted from 1, a reminder is in: FNV-1a of id and name."""
    value = _FNV_START
    for byte in actor_id.encode() + name.encode():
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value % partitions + 1


def encode_layout(layout: Layout) -> bytes:
    """The metadata record."""
    return orjson.dumps({"id": layout.id, _COUNTS: {"partitionCount": layout.partitions}})


def decode_layout(actor_type: str, data: bytes | None) -> Layout:
    """Read a metadata record; an absent one means one record. Raises ``LayoutError``."""
    if not data:
        return Layout(actor_type)
    try:
        found = orjson.loads(data)
        count = int((found.get(_COUNTS) or {}).get("partitionCount", 0))
        if not 0 <= count <= _MOST_READ:
            raise ValueError(f"partitionCount is {count}, expected 0 to {_MOST_READ}")
        return Layout(actor_type, str(found.get("id") or _NO_ID), count)
    except (ValueError, AttributeError, TypeError) as error:
        raise LayoutError(
            f"the record {metadata_record(actor_type).key} cannot be read: {error}"
        ) from error


def encode_entry(entry: Entry) -> bytes:
    """One reminder's piece of a record."""
    try:
        return compact(orjson.dumps(entry))
    except TypeError:  # an integer past 64 bits in somebody's data
        return encoding.plain(Json(_plain(entry)))


def join_entries(pieces: Iterable[bytes]) -> bytes:
    """A record of these pieces."""
    return b"[" + b",".join(pieces) + b"]"


def split_entries(record: Record, data: bytes) -> dict[tuple[str, str], bytes]:
    """The pieces of a record, by actor id and name. Raises ``LayoutError``."""
    return {entry_key(entry): encode_entry(entry) for entry in decode_entries(record, data)}


def entry_key(entry: Entry) -> tuple[str, str]:
    """What tells a reminder from the others of its type: actor id and name."""
    return str(entry.get("actorID", "")), str(entry.get("name", ""))


def decode_entries(record: Record, data: bytes | None) -> list[Entry]:
    """The reminders of a record, JSON or protobuf. Raises ``LayoutError``."""
    if not data:
        return []
    try:
        if data.startswith(_PROTOBUF):
            return [_from_message(m) for m in _messages(data[len(_PROTOBUF) :])]
        found = encoding.loads(data)
    except Exception as error:
        raise LayoutError(f"the record {record.key} cannot be read: {error}") from error
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise LayoutError(f"the record {record.key} cannot be read: it is no list of reminders")
    return found


def _messages(data: bytes) -> Iterable[reminders_pb2.Reminder]:
    return reminders_pb2.Reminders.FromString(data).reminders


def _from_message(message: reminders_pb2.Reminder) -> Entry:
    entry: Entry = {
        "actorID": message.actor_id,
        "actorType": message.actor_type,
        "name": message.name,
        "period": message.period,
        "dueTime": message.due_time,
    }
    if message.HasField("data") and (raw := _any_bytes(message.data.value)):
        entry["data"] = _json_or_base64(raw)
    for name in ("registered_time", "expiration_time"):
        if message.HasField(name):
            moment = getattr(message, name)
            text = format_moment(moment.seconds + moment.nanos / 1e9)
            entry[name.replace("_time", "Time")] = text
    return entry


def _json_or_base64(raw: bytes) -> object:
    """Data is JSON; whatever else it is must not make its neighbours unreadable."""
    try:
        return encoding.loads(raw)
    except ValueError:
        return base64.b64encode(raw).decode()


def _any_bytes(value: bytes) -> bytes:
    """The content of a ``BytesValue`` (one member, number 1), or the bytes as they are."""
    from google.protobuf import wrappers_pb2
    from google.protobuf.message import DecodeError

    try:
        return wrappers_pb2.BytesValue.FromString(value).value or value
    except DecodeError:
        return value


def _plain(value: Any) -> Any:
    """A value without the pieces of JSON that only the faster encoder takes."""
    if isinstance(value, orjson.Fragment):
        return encoding.loads(orjson.dumps(value))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
