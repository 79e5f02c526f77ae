"""Reads and writes the records of one type's reminders; every write is fenced by etags."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.reminder_layout import (
    Entry,
    Layout,
    Record,
    decode_entries,
    decode_layout,
    encode_entry,
    encode_layout,
    entry_key,
    join_entries,
    metadata_record,
)
from dapr_sidecar.blocks.actors.stored import PARTITION_KEY, ActorStore
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    GetRequest,
    GetResponse,
    SetRequest,
)

_LOG = get_logger("dapr.runtime.actors.reminders")
_FIRST_WRITE = "first-write"
_EMPTY = b"[]"
_SPREAD_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Head:
    """The metadata record at one moment."""

    layout: Layout
    etag: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """One record at one moment."""

    record: Record
    data: bytes
    etag: str | None
    digest: bytes
    """Tells whether a record has the content it had before."""

    @classmethod
    def of(cls, record: Record, data: bytes, etag: str | None) -> Content:
        """A record with this content."""
        return cls(record, data, etag, hashlib.blake2b(data, digest_size=16).digest())

    def entries(self) -> list[Entry]:
        """The reminders in it. Raises ``LayoutError``."""
        return decode_entries(self.record, self.data)


class ReminderRecords:
    """The records of one type. Calls raise what the store raises; ``EtagError`` on a conflict."""

    def __init__(self, store: ActorStore, actor_type: str) -> None:
        self._store = store
        self._type = actor_type

    @property
    def max_records(self) -> int | None:
        """How many records one write may touch beside the metadata; ``None`` without limit."""
        limit = self._store.max_operations()
        return None if limit is None else max(limit - 1, 1)

    async def head(self) -> Head:
        """How the reminders are spread now; an absent record is no error."""
        record = metadata_record(self._type)
        found = await self._store.get(record.key, record.partition)
        return Head(decode_layout(self._type, found.data), found.etag if found.data else None)

    async def ensure_head(self) -> Head:
        """The same; an absent record is written first, so that there is an etag to guard it."""
        record = metadata_record(self._type)
        found = await self._ensure(record, encode_layout(Layout(self._type)))
        return Head(decode_layout(self._type, found.data), found.etag)

    async def read(self, records: Sequence[Record]) -> list[Content]:
        """The content of records; absent ones are empty."""
        requests = [GetRequest(r.key, {PARTITION_KEY: r.partition}) for r in records]
        found = await self._store.bulk_get(requests) if requests else {}
        return [_content(record, found.get(record.key)) for record in records]

    async def ensure(self, records: Sequence[Record]) -> list[Content]:
        """The same; absent ones are written first."""
        contents = await self.read(records)
        for number, content in enumerate(contents):
            if not content.etag:
                found = await self._ensure(content.record, _EMPTY)
                contents[number] = Content.of(content.record, found.data or _EMPTY, found.etag)
        return contents

    async def write(self, head: Head, contents: Sequence[Content]) -> None:
        """Replace records that have the etags of ``contents``, if nobody wrote meanwhile.

        The metadata record goes first: its new etag is how others see that something changed, and
        on stores that do not roll back it is what turns a late writer away.
        """
        record = metadata_record(self._type)
        requests = [_request(record, encode_layout(head.layout), head.etag)]
        requests += [_request(c.record, c.data, c.etag) for c in contents]
        partition = contents[0].record.partition if contents else record.partition
        await self._store.transact(requests, {PARTITION_KEY: partition})

    async def spread(self, head: Head, partitions: int) -> Head:
        """Rewrite everything into more partitions. Raises ``EtagError`` when others wrote.

        The new records belong to nobody until the metadata record, guarded by its etag, names them.
        """
        layout = Layout(self._type, str(uuid.uuid4()), partitions)
        buckets: dict[Record, list[bytes]] = {record: [] for record in layout.records()}
        old = await self.read(head.layout.records())
        for content in old:
            for entry in content.entries():
                buckets[layout.record_of(*entry_key(entry))].append(encode_entry(entry))
        requests = [
            _request(record, join_entries(pieces), None) for record, pieces in buckets.items()
        ]
        most = min(self.max_records or _SPREAD_AT_ONCE, _SPREAD_AT_ONCE)
        for start in range(0, partitions, most):
            part = requests[start : start + most]
            await self._store.transact(part, {PARTITION_KEY: layout.id})
        record = metadata_record(self._type)
        await self._store.set(_request(record, encode_layout(layout), head.etag))
        await self._forget([content.record for content in old])
        return await self.head()

    async def delete_tracks(self, keys: Sequence[str]) -> None:
        """Delete tracks; one that stays is recognised as old by its time."""
        if not keys:
            return
        try:
            await self._store.bulk_delete(keys)
        except Exception as error:  # noqa: BLE001 - nothing depends on it
            _LOG.warning("%d old reminder tracks could not be deleted: %s", len(keys), error)

    async def _forget(self, records: Sequence[Record]) -> None:
        try:
            await self._store.bulk_delete([record.key for record in records])
        except Exception as error:  # noqa: BLE001 - they are read by nobody any more
            _LOG.warning("old reminder records of %s could not be deleted: %s", self._type, error)

    async def _ensure(self, record: Record, initial: bytes) -> GetResponse:
        found = await self._store.get(record.key, record.partition)
        if found.data and found.etag:
            return found
        failure: Exception | None = None
        try:
            # Only a first write of its own leaves a record that late writers cannot overwrite,
            # on every store.
            await self._store.set(_request(record, found.data or initial, None))
        except Exception as error:  # noqa: BLE001 - somebody else may have been first
            failure = error
        found = await self._store.get(record.key, record.partition)
        if not found.data and failure is not None:
            raise failure
        return found


def _content(record: Record, item: BulkGetItem | None) -> Content:
    if item is None or not item.data:
        return Content.of(record, _EMPTY, None)
    return Content.of(record, item.data, item.etag)


def _request(record: Record, data: bytes, etag: str | None) -> SetRequest:
    metadata = {PARTITION_KEY: record.partition}
    return SetRequest(record.key, data, etag, metadata, _FIRST_WRITE)
