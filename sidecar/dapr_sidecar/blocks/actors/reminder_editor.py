"""Changes to one type's reminders: those that come together are stored together."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.reminder_edits import (
    AlreadyExistsError,
    Batch,
    Change,
    Edit,
    Pieces,
    Put,
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
from dapr_sidecar.components.state.base import EtagError

_LOG = get_logger("dapr.runtime.actors.reminders")
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 2_000
_DEADLINE_SECONDS = 30.0
_PAUSE_FACTOR, _LONGEST_PAUSE = 3.0, 1.0
_CONFLICT_SECONDS, _LONGEST_CONFLICT_SECONDS = 0.005, 0.5
_GATHER_SECONDS = 0.01
_CACHE_SECONDS = 10.0
_SPREAD_AGAIN_SECONDS = 10.0
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 30.0


class TooManyChangesError(Exception):
    """More changes wait for the store than are held."""

    def __init__(self) -> None:
        super().__init__(f"{_MOST_WAITING} changes to reminders of this type wait for the store")


class NotStoredError(Exception):
    """A change did not get through in time."""

    def __init__(self) -> None:
        super().__init__(
            f"not stored within {_DEADLINE_SECONDS:g} s: the store is slow, or other sidecars "
            "always wrote first"
        )


class StoppedError(Exception):
    """The sidecar stopped first."""

    def __init__(self) -> None:
        super().__init__("the sidecar stops, and whether it was stored is not known")


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


@dataclass(frozen=True, slots=True)
class _Waiting:
    edit: Edit
    answer: asyncio.Future[None]


class ReminderEditor:
    """Stores changes one batch after the other; whatever comes meanwhile is the next batch.

    ``lock`` is held while a batch is read and written: who holds it sees records and what
    ``on_written`` was told as one.
    """

    def __init__(
        self, records: ReminderRecords, on_written: OnWritten, on_spread: Callable[[Head], None]
    ) -> None:
        self.lock = asyncio.Lock()
        self._records = records
        self._on_written = on_written
        self._on_spread = on_spread
        self._asked: deque[_Waiting] = deque()
        self._later: dict[tuple[str, str], Remove] = {}
        self._wake = asyncio.Event()
        self._stored = asyncio.Event()
        self._hurry = False
        self._pause = 0.0
        self._conflicts = self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._cache: dict[Record, _Cached] = {}
        self._forget: asyncio.TimerHandle | None = None
        self._spread_again = 0.0
        self._together = False

    async def edit(self, edit: Edit) -> None:
        """Return once a change is stored.

        Raises ``AlreadyExistsError``, ``TooManyChangesError``, ``NotStoredError``, ``StoppedError``
        or what the store raises.
        """
        if len(self._asked) >= _MOST_WAITING:
            raise TooManyChangesError
        waiting = _Waiting(edit, asyncio.get_running_loop().create_future())
        if isinstance(edit, Put) and edit.overwrite:
            # Else the one that is done with must go first, so as not to be in the way.
            self._later.pop(edit.reminder.key, None)
            self._stored.set()
        self._asked.append(waiting)
        self._start()
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await waiting.answer
        except TimeoutError:
            if waiting.answer.cancelled():
                raise NotStoredError from None
            raise

    def remove_later(self, edit: Remove) -> None:
        """Delete a reminder that is done with, when it is convenient; tried until it succeeds."""
        self._later[edit.ref.id, edit.name] = edit
        self._start()

    def find(self, content: Content, key: tuple[str, str]) -> bytes | None:
        """One reminder's piece of a record that was read just now. Raises ``LayoutError``."""
        cached = self._cache.get(content.record)
        if cached is not None and cached.digest == content.digest:
            return cached.pieces.get(key)
        return split_entries(content.record, content.data).get(key)

    def is_leaving(self, key: tuple[str, str], due: float) -> bool:
        """Whether this very reminder is done with, and only still in the store."""
        found = self._later.get(key)
        return found is not None and found.due == due

    async def flush(self, seconds: float) -> None:
        """Wait, so long at the most, until the reminders that are done with are deleted.

        Changes that users ask for are nobody's in particular: they may come for ever.
        """
        leaving = list(self._later.values())
        self._hurry = True
        self._wake.set()
        try:
            async with asyncio.timeout(seconds):
                while any(self._later.get((e.ref.id, e.name)) is e for e in leaving):
                    self._stored.clear()
                    await self._stored.wait()
        except TimeoutError:
            _LOG.warning("finished reminders could not be deleted within %g s", seconds)
        finally:
            self._hurry = False

    async def close(self, seconds: float) -> None:
        """Store what waits, within so long, and then nothing more."""
        await self.flush(seconds)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for waiting in self._asked:
            _answer(waiting, StoppedError())
        self._asked.clear()
        self._cache.clear()
        if self._forget is not None:
            self._forget.cancel()

    # --- the worker -------------------------------------------------------------------------

    def _start(self) -> None:
        if self._asked:
            self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="reminder-editor")

    async def _work(self) -> None:
        try:
            while self._asked or self._later:
                await self._rest()
                await self._one_batch()
        finally:
            self._task = None

    async def _rest(self) -> None:
        """Leave the loop to others for a while, unless somebody waits.

        Those who were answered together tend to ask again together, but not in the same moment.
        """
        self._wake.clear()
        if self._together:
            await asyncio.sleep(min(self._pause / _PAUSE_FACTOR, _GATHER_SECONDS))
        elif not self._asked and not self._hurry:
            try:
                async with asyncio.timeout(self._pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _one_batch(self) -> None:
        asked, later = self._take()
        started = time.monotonic()
        try:
            async with self.lock:
                refused = await self._store(asked, later)
        except EtagError:
            self._conflicts += 1
            self._asked.extendleft(reversed(_unanswered(asked)))
            longest = min(
                _CONFLICT_SECONDS * 2 ** min(self._conflicts, 16), _LONGEST_CONFLICT_SECONDS
            )
            await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - not a secret
        except asyncio.CancelledError:
            for waiting in asked:
                _answer(waiting, StoppedError())
            raise
        except Exception as error:  # noqa: BLE001 - told to who asked
            await self._failed(asked, later, error)
        else:
            self._conflicts = self._failures = 0
            self._together = len(asked) > 1
            for edit in later:
                if self._later.get((edit.ref.id, edit.name)) is edit:
                    del self._later[edit.ref.id, edit.name]
            self._stored.set()
            for waiting in asked:
                _answer(waiting, refused.get(id(waiting)))
        self._pause = min((time.monotonic() - started) * _PAUSE_FACTOR, _LONGEST_PAUSE)

    def _take(self) -> tuple[list[_Waiting], list[Remove]]:
        later = list(self._later.values())[: _MOST_AT_ONCE // 2]
        room = min(len(self._asked), _MOST_AT_ONCE - len(later))
        asked = [self._asked.popleft() for _ in range(room)]
        return _unanswered(asked), later

    async def _store(
        self, asked: list[_Waiting], later: list[Remove]
    ) -> dict[int, AlreadyExistsError]:
        """Returns who was refused. What did not fit is taken off the lists and waits again."""
        if not asked and not later:
            return {}
        head = await self._records.ensure_head()
        edits: list[Edit] = [*later, *(waiting.edit for waiting in asked)]
        fits = first_part(head.layout, edits, self._records.max_records)
        self._asked.extendleft(reversed(asked[max(fits - len(later), 0) :]))
        del asked[max(fits - len(later), 0) :], later[fits:], edits[fits:]
        contents = await self._records.ensure(records_of(head.layout, edits))
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

    async def _failed(
        self, asked: list[_Waiting], later: Sequence[Remove], error: Exception
    ) -> None:
        for waiting in asked:
            _answer(waiting, error)
        if later and not asked:
            self._failures += 1
            seconds = min(_RETRY_SECONDS * 2 ** min(self._failures, 16), _LONGEST_RETRY_SECONDS)
            _LOG.warning(
                "%d finished reminders could not be deleted, next attempt in %g s: %s",
                len(later),
                seconds,
                error,
            )
            self._wake.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass


def _apply(batch: Batch, asked: Sequence[_Waiting]) -> dict[int, AlreadyExistsError]:
    refused: dict[int, AlreadyExistsError] = {}
    for waiting in asked:
        try:
            batch.apply(waiting.edit)
        except AlreadyExistsError as error:
            refused[id(waiting)] = error
    return refused


def _unanswered(asked: Sequence[_Waiting]) -> list[_Waiting]:
    """Who still waits: neither gave up nor ran out of time."""
    return [waiting for waiting in asked if not waiting.answer.done()]


def _answer(waiting: _Waiting, error: Exception | None) -> None:
    if waiting.answer.done():
        return
    if error is None:
        waiting.answer.set_result(None)
    else:
        waiting.answer.set_exception(error)


def _old_tracks(changes: Sequence[Change]) -> list[str]:
    return [track_key(change.ref, change.name) for change in changes if change.had_track]
