"""Stores batches of changes to one type's reminders, and spreads records that became too full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.reminder_edits import (
    AlreadyExistsError,
    Batch,
    Change,
    Edit,
    Pieces,
    Remove,
    first_part,
    records_of,
    wanted_partitions,
)
from dapr_sidecar.blocks.actors.reminder_layout import (
    Layout,
    Record,
    join_entries,
    split_entries,
    track_key,
)
from dapr_sidecar.blocks.actors.reminder_records import Content, Head, ReminderRecords

_LOG = get_logger("dapr.runtime.actors.reminders")
_CACHE_SECONDS = 10.0
_SPREAD_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Written:
    """A record that was written: its content's digest before and after."""

    record: Record
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class _Cached:
    digest: bytes
    pieces: Pieces


OnWritten = Callable[[Layout, Sequence[Change], Sequence[Written]], None]


class ReminderWriter:
    """``lock`` is held while a batch is read and written.

    Who holds it sees records and what ``on_written`` was told as one.
    """

    def __init__(
        self, records: ReminderRecords, on_written: OnWritten, on_spread: Callable[[Head], None]
    ) -> None:
        self.lock = asyncio.Lock()
        self._records = records
        self._on_written = on_written
        self._on_spread = on_spread
        self._cache: dict[Record, _Cached] = {}
        self._forget: asyncio.TimerHandle | None = None
        self._spread_again = 0.0

    def find(self, content: Content, key: tuple[str, str]) -> bytes | None:
        """One reminder's piece of a record that was read just now. Raises ``LayoutError``."""
        cached = self._cache.get(content.record)
        if cached is not None and cached.digest == content.digest:
            return cached.pieces.get(key)
        return split_entries(content.record, content.data).get(key)

    async def head(self) -> Head:
        """How the reminders are spread as a batch begins."""
        return await self._records.ensure_head()

    def fits(self, head: Head, edits: Sequence[Edit]) -> int:
        """How many of these, from the first on, can be stored together."""
        return first_part(head.layout, edits, self._records.max_records)

    async def store(
        self, head: Head, later: Sequence[Remove], asked: Sequence[Edit]
    ) -> dict[int, AlreadyExistsError]:
        """Apply what waited for convenience, then what was asked for, as one.

        Returns which of those that were asked for are refused, by number. Raises ``EtagError`` or
        what the store raises.
        """
        contents = await self._records.ensure(records_of(head.layout, [*later, *asked]))
        batch = Batch(head.layout)
        for content in contents:
            batch.load(content.record, self._take_pieces(content))
        for edit in later:
            batch.apply(edit)
        refused = _apply(batch, asked)
        if batch.changes:
            await self._write(head, batch, {content.record: content for content in contents})
            await self._records.delete_tracks(_old_tracks(batch.changes))
        return refused

    def close(self) -> None:
        """Forget what was read."""
        self._cache.clear()
        if self._forget is not None:
            self._forget.cancel()

    # --- inside -----------------------------------------------------------------------------

    async def _write(self, head: Head, batch: Batch, before: dict[Record, Content]) -> None:
        changed = batch.changed()
        new = [
            Content.of(record, join_entries(pieces.values()), before[record].etag)
            for record, pieces in changed
        ]
        await self._records.write(head, new)
        for content, (record, pieces) in zip(new, changed, strict=True):
            self._cache[record] = _Cached(content.digest, pieces)
        written = [Written(c.record, before[c.record].digest, c.digest) for c in new]
        self._on_written(head.layout, batch.changes, written)
        self._keep_for_a_while()
        await self._spread(head.layout, max(len(pieces) for _, pieces in changed))

    async def _spread(self, layout: Layout, fullest: int) -> None:
        """Take more partitions, if there should be; what was stored is stored, come what may."""
        wanted = wanted_partitions(layout, fullest, self._records.max_records)
        if wanted is None or time.monotonic() < self._spread_again:
            return
        name, count = layout.actor_type, layout.partitions
        try:
            head = await self._records.head()
            if head.layout == layout:
                _LOG.info("spreading reminders of %s: %d to %d partitions", name, count, wanted)
                self._on_spread(await self._records.spread(head, wanted))
                self._cache.clear()
        except Exception as error:  # noqa: BLE001 - it goes on as before, only slower
            self._spread_again = time.monotonic() + _SPREAD_AGAIN_SECONDS
            _LOG.warning("reminders of %s stay in %d partitions: %s", name, count, error)

    def _take_pieces(self, content: Content) -> Pieces:
        """The pieces of a record; taking them apart again is most of what a change costs."""
        # Out of the cache while they are changed: only what was written may be in it.
        cached = self._cache.pop(content.record, None)
        if cached is not None and cached.digest == content.digest:
            return cached.pieces
        return split_entries(content.record, content.data)

    def _keep_for_a_while(self) -> None:
        if self._forget is not None:
            self._forget.cancel()
        loop = asyncio.get_running_loop()
        self._forget = loop.call_later(_CACHE_SECONDS, self._cache.clear)


def _apply(batch: Batch, asked: Sequence[Edit]) -> dict[int, AlreadyExistsError]:
    refused: dict[int, AlreadyExistsError] = {}
    for number, edit in enumerate(asked):
        try:
            batch.apply(edit)
        except AlreadyExistsError as error:
            refused[number] = error
    return refused


def _old_tracks(changes: Sequence[Change]) -> list[str]:
    return [track_key(change.ref, change.name) for change in changes if change.had_track]
