"""When a reminder runs, and what a request for one means at the moment it comes; pure."""

from __future__ import annotations

import math

from dapr_sidecar.blocks.actors.base import SEPARATOR
from dapr_sidecar.blocks.actors.compact import compact
from dapr_sidecar.blocks.actors.reminder import Reminder, ReminderRequest, Track
from dapr_sidecar.blocks.actors.times import (
    Period,
    TimeFormatError,
    expiry,
    format_moment,
    parse_moment,
    parse_period,
)


def plan(request: ReminderRequest, now: float) -> Reminder:
    """What a request that comes at ``now`` means. Raises ``ValueError`` with Dapr's text."""
    named = f"{request.ref}{SEPARATOR}{request.name}"
    try:
        period = parse_period(request.period)
    except TimeFormatError as error:
        raise ValueError(f"invalid reminder period: parse error: {error}") from error
    if period.repeats == 0:
        raise ValueError(f"reminder {named} has zero repetitions")
    due = _first_run(request, period, now)
    try:
        expires = expiry(request.ttl, due)
    except TimeFormatError as error:
        raise ValueError(f"error parsing reminder TTL: {error}") from error
    if expires is not None and (expires < now or expires < due):
        raise ValueError(
            f"reminder {named} has already expired: dueTime: {request.due_time} TTL: {request.ttl}"
        )
    return Reminder(
        request.ref,
        request.name,
        _as_stored(due),
        request.due_time,
        request.period,
        None if request.data is None else compact(request.data),
        None if expires is None else _as_stored(expires),
        request.failure_policy,
    )


def _as_stored(moment: float) -> float:
    """What is read again equals what was written."""
    return parse_moment(format_moment(moment), 0)


def _first_run(request: ReminderRequest, period: Period, now: float) -> float:
    if request.due_time:
        try:
            return parse_moment(request.due_time, now)
        except TimeFormatError as error:
            raise ValueError(f"error parsing reminder due time: {error}") from error
    if not period.recurs:
        raise ValueError("job failed validation: job must have either a due time or a schedule")
    return period.after(now)


def first_tick(reminder: Reminder, period: Period, track: Track | None) -> tuple[float, int | None]:
    """The tick a reminder stands at when it is read, and the runs that are left.

    A track that is older than the reminder is one of a predecessor's.
    """
    if track is None or track.last < math.floor(reminder.due):
        return reminder.due, period.repeats
    return period.after(track.last), track.left if period.repeats is not None else None
