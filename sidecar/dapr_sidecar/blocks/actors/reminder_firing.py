"""Runs the reminders this sidecar owns, when they are due."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import ActorRef, ActorRouter, Callback, Ownership
from dapr_sidecar.blocks.actors.due import DueRunner, deliver
from dapr_sidecar.blocks.actors.fence import WriteFence
from dapr_sidecar.blocks.actors.reminder import DEFAULT_POLICY, Reminder, Track, to_track
from dapr_sidecar.blocks.actors.reminder_layout import track_key
from dapr_sidecar.blocks.actors.stored import ActorStore, MayWrite
from dapr_sidecar.blocks.actors.times import Period
from dapr_sidecar.components.state.base import SetRequest
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.reminders")
_AT_A_TIME = 500
_LOOK_AGAIN_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Scheduled:
    """A reminder that waits for its next tick here."""

    reminder: Reminder
    ref: ActorRef
    period: Period
    tick: float
    left: int | None
    failures: int = 0
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What follows a run: the tick it counts as, and the next one (infinity: none)."""

    ran: float
    following: float
    left: int | None


def step(scheduled: Scheduled, now: float) -> Step:
    """Count a run that ended at ``now``; ticks that were missed are one with it."""
    period = scheduled.period
    ran = period.newest(scheduled.tick, now)
    left = None if scheduled.left is None else scheduled.left - 1
    following = period.after(ran)
    expires = scheduled.reminder.expires
    if (left is not None and left <= 0) or (expires is not None and following > expires):
        following = math.inf
    return Step(ran, following, left)


class Keeper(Protocol):
    """Who keeps what is scheduled."""

    def is_current(self, scheduled: Scheduled) -> bool:
        """Whether it was neither replaced nor deleted nor taken away."""
        ...

    def finished(self, scheduled: Scheduled) -> None:
        """It runs no more: delete it."""
        ...

    def moved(self, scheduled: Scheduled) -> None:
        """It belongs to another sidecar now."""
        ...


class ReminderFiring:
    """Fires what is put into it. Whose an actor is, is asked right before every run and write."""

    def __init__(
        self,
        context: SidecarContext,
        store: ActorStore,
        router: ActorRouter,
        ownership: Ownership,
        keeper: Keeper,
    ) -> None:
        self._context = context
        self._store = store
        self._router = router
        self._ownership = ownership
        self._keeper = keeper
        self._fence = WriteFence(ownership)
        self._runner = DueRunner(self._fire, time.time, _AT_A_TIME)

    def put(self, scheduled: Scheduled) -> None:
        """Fire at its tick."""
        self._runner.put(scheduled, scheduled.tick)

    def remove(self, scheduled: Scheduled) -> None:
        """Do not fire; a run under way goes on."""
        self._runner.remove(scheduled)

    async def end_runs(self, types: frozenset[str], seconds: Callable[[str], float]) -> None:
        """Wait for runs of types that leave, each type for its own time; then cancel them."""
        self._fence.cut()
        await asyncio.gather(
            *(self._runner.quiesce(partial(_is_of, kind), seconds(kind)) for kind in types)
        )

    async def close(self, seconds: float) -> None:
        """Fire nothing more; what runs has so long to end."""
        await self._runner.close(seconds)

    # --- one run ----------------------------------------------------------------------------

    async def _fire(self, scheduled: Scheduled) -> None:
        keeper = self._keeper
        if not keeper.is_current(scheduled):
            return
        if not self._ownership.is_mine(scheduled.ref):
            self._not_mine(scheduled)
            return
        expires = scheduled.reminder.expires
        if expires is not None and scheduled.tick > expires:
            keeper.finished(scheduled)
            return
        success, cancelled = await self._deliver(scheduled)
        if not keeper.is_current(scheduled):
            return
        if cancelled:
            keeper.finished(scheduled)
        elif success or not self._tries_again(scheduled):
            await self._advance(scheduled)

    def _not_mine(self, scheduled: Scheduled) -> None:
        owner = self._ownership.owner(scheduled.ref)
        if owner is None or owner.local:
            # Its type moves, or placement is silent: the listener will be told which it was.
            self._runner.put(scheduled, self._runner.clock() + _LOOK_AGAIN_SECONDS)
        else:
            self._keeper.moved(scheduled)

    async def _deliver(self, scheduled: Scheduled) -> tuple[bool, bool]:
        """Returns whether it went well, and whether the app wants no more of it."""
        reminder = scheduled.reminder
        callback = Callback(
            reminder.ref,
            reminder.name,
            "reminder",
            reminder.data,
            reminder.due_time,
            reminder.period,
        )
        success, cancelled = await deliver(self._router, callback, _LOG)
        self._context.metrics.actors.reminder_fired(reminder.ref.type, success)
        return success, cancelled

    def _tries_again(self, scheduled: Scheduled) -> bool:
        policy = scheduled.reminder.failure_policy or DEFAULT_POLICY
        if policy.retries is not None and scheduled.failures >= policy.retries:
            return False
        again = self._runner.clock() + policy.pause
        expires = scheduled.reminder.expires
        if expires is not None and again > expires:
            return False
        scheduled.failures += 1
        self._runner.put(scheduled, again)
        return True

    async def _advance(self, scheduled: Scheduled) -> None:
        taken = step(scheduled, self._runner.clock())
        if taken.following == math.inf:
            self._keeper.finished(scheduled)
            return
        scheduled.failures, scheduled.left, scheduled.tick = 0, taken.left, taken.following
        await self._write_track(scheduled, Track(taken.ran, taken.left))
        if self._keeper.is_current(scheduled):
            self._runner.put(scheduled, scheduled.tick)

    async def _write_track(self, scheduled: Scheduled, track: Track) -> None:
        ref, name = scheduled.ref, scheduled.reminder.name
        request = SetRequest(track_key(ref, name), to_track(track))

        async def write(may: MayWrite) -> None:
            await self._store.set(request, may)

        if not self._ownership.holds(ref):
            return
        try:
            await self._fence.run(ref, write)
        except Exception as error:  # noqa: BLE001 - it goes on from memory
            _LOG.warning(
                "reminder %s of actor %s ran, but that could not be noted, so that it may run "
                "again after a restart: %s",
                name,
                ref,
                error,
            )


def _is_of(actor_type: str, scheduled: Scheduled) -> bool:
    return scheduled.ref.type == actor_type
