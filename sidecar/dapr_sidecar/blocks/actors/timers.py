"""Timers: in the memory of the sidecar that took them, gone with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors import state_errors
from dapr_sidecar.blocks.actors.base import ActorRef, ActorRouter, Callback, Ownership
from dapr_sidecar.blocks.actors.compact import compact
from dapr_sidecar.blocks.actors.due import DueRunner, deliver, steady_clock
from dapr_sidecar.blocks.actors.names import (
    check_actor,
    check_name,
    check_not_empty,
    check_not_reserved,
)
from dapr_sidecar.blocks.actors.times import (
    Period,
    TimeFormatError,
    expiry,
    parse_moment,
    parse_period,
)
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.timers")
_AT_A_TIME = 500
_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TimerRequest:
    """A timer as the user wants it; ``data`` is raw JSON."""

    name: str
    due_time: str = ""
    period: str = ""
    ttl: str = ""
    callback: str = ""
    data: bytes | None = None


@dataclass(slots=True, eq=False)
class _Timer:
    ref: ActorRef
    request: TimerRequest
    period: Period
    tick: float
    """The moment the next run is, or was, scheduled for."""
    left: int | None
    expires: float
    ticket: int = 0


class Timers:
    """Every timer of this sidecar. A tick never overlaps the one before it."""

    def __init__(self, context: SidecarContext, router: ActorRouter, ownership: Ownership) -> None:
        self._context = context
        self._router = router
        self._ownership = ownership
        self._timers: dict[tuple[ActorRef, str], _Timer] = {}
        self._counts: Counter[str] = Counter()
        self._runner = DueRunner(self._fire, steady_clock(), _AT_A_TIME)

    def create(self, ref: ActorRef, request: TimerRequest) -> None:
        """Start a timer; one of the same name is replaced. Raises ``DaprError``."""
        _check(ref, request.name)
        check_not_empty(ref, request.name)
        if ref.type not in self._ownership.hosted:
            raise state_errors.timer_create(
                f"can't create timer for actor {ref}: actor type not registered"
            )
        if request.data is not None:
            request = replace(request, data=compact(request.data))
        timer = new_timer(ref, request, self._runner.clock())
        self._remove(ref, request.name)
        self._timers[ref, request.name] = timer
        self._count(ref.type, 1)
        self._runner.put(timer, timer.tick)

    def delete(self, ref: ActorRef, name: str) -> None:
        """Stop a timer; a missing one is fine. Raises ``DaprError``."""
        _check(ref, name)
        self._remove(ref, name)

    async def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Fire nothing more; what runs has so long to end."""
        await self._runner.close(seconds)

    def _remove(self, ref: ActorRef, name: str) -> None:
        timer = self._timers.pop((ref, name), None)
        if timer is not None:
            self._runner.remove(timer)
            self._count(ref.type, -1)

    def _count(self, actor_type: str, change: int) -> None:
        self._counts[actor_type] += change
        self._context.metrics.actors.timers(actor_type, self._counts[actor_type])

    def _is_current(self, timer: _Timer) -> bool:
        return self._timers.get((timer.ref, timer.request.name)) is timer

    async def _fire(self, timer: _Timer) -> None:
        if not self._is_current(timer):
            return
        cancelled = await self._deliver(timer)
        if not self._is_current(timer):
            return
        if timer.left is not None:
            timer.left -= 1
        timer.tick = next_tick(timer.period, timer.tick, timer.left, timer.expires)
        if cancelled or timer.tick == math.inf:
            self._remove(timer.ref, timer.request.name)
        else:
            self._runner.put(timer, timer.tick)

    async def _deliver(self, timer: _Timer) -> bool:
        """Returns whether the app cancelled it; a failure is logged, and the timer goes on."""
        request = timer.request
        callback = Callback(
            timer.ref,
            request.name,
            "timer",
            request.data,
            request.due_time,
            request.period,
            request.callback,
        )
        success, cancelled = await deliver(self._router, callback, _LOG)
        self._context.metrics.actors.timer_fired(timer.ref.type, success)
        return cancelled


def _check(ref: ActorRef, name: str) -> None:
    check_not_reserved(ref.type)
    check_actor(ref)
    check_name("name", name)


def new_timer(ref: ActorRef, request: TimerRequest, now: float) -> _Timer:
    """What a request means when it comes at ``now``. Raises ``DaprError``."""
    try:
        period = parse_period(request.period)
    except TimeFormatError as error:
        raise state_errors.timer_create(f"invalid timer period: parse error: {error}") from error
    if period.repeats == 0:
        raise state_errors.timer_create(f"timer {ref}||{request.name} has zero repetitions")
    try:
        due = parse_moment(request.due_time, now) if request.due_time else now
    except TimeFormatError as error:
        raise state_errors.timer_create(f"error parsing timer due time: {error}") from error
    try:
        expires = expiry(request.ttl, due)
    except TimeFormatError as error:
        raise state_errors.timer_create(f"error parsing timer TTL: {error}") from error
    if expires is not None and (expires < now or expires < due):
        raise state_errors.timer_create(
            f"timer {ref}||{request.name} has already expired: "
            f"dueTime: {request.due_time} TTL: {request.ttl}"
        )
    return _Timer(
        ref, request, period, due, period.repeats, math.inf if expires is None else expires
    )


def next_tick(period: Period, tick: float, left: int | None, expires: float) -> float:
    """The tick after one that was scheduled for ``tick``; infinity when there is none."""
    if left is not None and left <= 0:
        return math.inf
    following = period.after(tick)
    return following if following <= expires else math.inf
