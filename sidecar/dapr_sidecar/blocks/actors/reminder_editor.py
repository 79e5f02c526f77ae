"""Changes to one type's reminders wait here: those that come together are stored together."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.reminder_edits import (
    AlreadyExistsError,
    Change,
    Edit,
    Put,
    Remove,
)
from dapr_sidecar.blocks.actors.reminder_errors import (
    NotStoredError,
    StoppedError,
    TooManyChangesError,
)
from dapr_sidecar.blocks.actors.reminder_layout import Layout
from dapr_sidecar.blocks.actors.reminder_records import Head, ReminderRecords
from dapr_sidecar.blocks.actors.reminder_writer import OnWritten, ReminderWriter, Written
from dapr_sidecar.components.state.base import EtagError

_LOG = get_logger("dapr.runtime.actors.reminders")
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 2_000
_DEADLINE_SECONDS = 30.0
_PAUSE_FACTOR, _LONGEST_PAUSE = 3.0, 1.0
_CONFLICT_SECONDS, _LONGEST_CONFLICT_SECONDS = 0.005, 0.5
_GATHER_SECONDS = 0.01
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    edit: Edit
    answer: asyncio.Future[None]


class ReminderEditor:
    """Stores changes one batch after the other; whatever comes meanwhile is the next batch."""

    def __init__(
        self, records: ReminderRecords, on_written: OnWritten, on_spread: Callable[[Head], None]
    ) -> None:
        self.writer = ReminderWriter(records, self._written, on_spread)
        self._on_written = on_written
        self._asked: deque[_Waiting] = deque()
        self._later: dict[tuple[str, str], Remove] = {}
        self._wake = asyncio.Event()
        self._stored = asyncio.Event()
        self._hurry = False
        self._pause = 0.0
        self._conflicts = self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._together = False

    async def edit(self, edit: Edit) -> None:
        """Return once a change is stored.

        Raises ``AlreadyExistsError``, ``TooManyChangesError``, ``NotStoredError``, ``StoppedError``
        or what the store raises.
        """
        if len(self._asked) >= _MOST_WAITING:
            raise TooManyChangesError(_MOST_WAITING)
        waiting = _Waiting(edit, asyncio.get_running_loop().create_future())
        self._asked.append(waiting)
        self._start()
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await waiting.answer
        except TimeoutError:
            if waiting.answer.cancelled():
                raise NotStoredError(_DEADLINE_SECONDS) from None
            raise

    def remove_later(self, edit: Remove) -> None:
        """Delete a reminder that is done with, when it is convenient; tried until it succeeds."""
        self._later[edit.ref.id, edit.name] = edit
        self._start()

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
        self.writer.close()

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
            for number, waiting in enumerate(asked):
                _answer(waiting, refused.get(number))
        self._pause = min((time.monotonic() - started) * _PAUSE_FACTOR, _LONGEST_PAUSE)

    def _take(self) -> tuple[list[_Waiting], list[Remove]]:
        """The next batch: who waits, and removals, first of all of those that are replaced."""
        room = min(len(self._later), _MOST_AT_ONCE // 2)
        taken = min(len(self._asked), _MOST_AT_ONCE - room)
        asked = _unanswered([self._asked.popleft() for _ in range(taken)])
        put = {w.edit.reminder.key for w in asked if isinstance(w.edit, Put)}
        replaced = [self._later[key] for key in put & self._later.keys()]
        others = (edit for key, edit in self._later.items() if key not in put)
        return asked, [*replaced, *islice(others, max(room - len(replaced), 0))]

    async def _store(
        self, asked: list[_Waiting], later: list[Remove]
    ) -> dict[int, AlreadyExistsError]:
        """Returns who was refused. What did not fit is taken off the lists and waits again."""
        if not asked and not later:
            return {}
        async with self.writer.lock:
            head = await self.writer.head()
            fits = self.writer.fits(head, [*later, *(waiting.edit for waiting in asked)])
            fitting = max(fits - len(later), 0)
            self._asked.extendleft(reversed(asked[fitting:]))
            del asked[fitting:], later[fits:]
            return await self.writer.store(head, later, [waiting.edit for waiting in asked])

    def _written(
        self, layout: Layout, changes: Sequence[Change], written: Sequence[Written]
    ) -> None:
        """A batch is stored: one that was done with and is replaced is not to be removed.

        Not earlier: until its successor is stored, it is only still in the store itself.
        """
        for change in changes:
            if change.reminder is not None:
                self._later.pop((change.ref.id, change.name), None)
        self._on_written(layout, changes, written)

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
