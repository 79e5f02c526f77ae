"""A reminder, as users ask for it and as stores keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from dapr_common.durations import format_go_duration, parse_go_duration
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.compact import compact
from dapr_sidecar.blocks.actors.times import format_moment, parse_moment
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import Json

_LEAST_PAUSE = 0.1
_MOST_RETRIES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What becomes of a run that failed: up to ``retries`` more (``None``: without end).

    ``interval`` is in seconds; 0 where none was given, as on the wire.
    """

    interval: float = 1.0
    retries: int | None = 3

    @property
    def pause(self) -> float:
        """Seconds between tries: an app that fails at once must not be called as fast as it fails.

        What was not given is as in the default policy.
        """
        return max(self.interval, _LEAST_PAUSE) if self.interval > 0 else DEFAULT_POLICY.interval


DEFAULT_POLICY = FailurePolicy()
DROP = FailurePolicy(retries=0)


@dataclass(frozen=True, slots=True)
class ReminderRequest:
    """A reminder as the user wants it; ``data`` is raw JSON."""

    ref: ActorRef
    name: str
    due_time: str = ""
    period: str = ""
    ttl: str = ""
    data: bytes | None = None
    overwrite: bool = True
    failure_policy: FailurePolicy | None = None


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder as it is kept. Times are the user's texts; moments are seconds since the epoch."""

    ref: ActorRef
    name: str
    due: float
    """Of the first run."""
    due_time: str = ""
    period: str = ""
    data: bytes | None = None
    expires: float | None = None
    failure_policy: FailurePolicy | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others of its type."""
        return self.ref.id, self.name


@dataclass(frozen=True, slots=True)
class ReminderView:
    """A reminder as it is shown to users; ``ttl`` is a time of RFC 3339."""

    ref: ActorRef
    name: str
    due_time: str = ""
    period: str = ""
    ttl: str = ""
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """How far a reminder got: the tick that ran last, and the runs that are left."""

    last: float
    left: int | None = None


def view(reminder: Reminder) -> ReminderView:
    """How users see a reminder."""
    return ReminderView(
        reminder.ref,
        reminder.name,
        reminder.due_time,
        reminder.period,
        "" if reminder.expires is None else format_moment(reminder.expires),
        reminder.data,
    )


# --- as stores keep it ----------------------------------------------------------------------


def to_entry(reminder: Reminder) -> dict[str, Any]:
    """The JSON object of a reminder in its record; empty members are left out."""
    entry: dict[str, Any] = {
        "registeredTime": format_moment(reminder.due),
        "expirationTime": None if reminder.expires is None else format_moment(reminder.expires),
        "actorID": reminder.ref.id,
        "actorType": reminder.ref.type,
        "name": reminder.name,
        "data": None if reminder.data is None else orjson.Fragment(reminder.data),
        "period": reminder.period,
        "dueTime": reminder.due_time,
        # Not one of Dapr's members; it reads past it.
        "failurePolicy": _policy_entry(reminder.failure_policy),
    }
    return {name: value for name, value in entry.items() if value not in (None, "")}


def from_entry(entry: Mapping[str, Any]) -> Reminder:
    """Read the JSON object of a reminder. Raises ``ValueError`` when it is none."""
    try:
        due_time = str(entry.get("dueTime") or "")
        registered = str(entry.get("registeredTime") or "")
        expires = str(entry.get("expirationTime") or "")
        return Reminder(
            ActorRef(entry["actorType"], str(entry.get("actorID", ""))),
            str(entry.get("name", "")),
            parse_moment(registered, 0) if registered else 0.0,
            due_time,
            str(entry.get("period") or ""),
            raw_json(entry["data"]) if "data" in entry else None,
            parse_moment(expires, 0) if expires and not expires.startswith("0001-") else None,
            policy_of(entry.get("failurePolicy")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a reminder in the store cannot be read: {error!r}") from error


def to_track(track: Track) -> bytes:
    """The record of a track."""
    entry: dict[str, Any] = {"lastFiredTime": format_moment(track.last)}
    if track.left is not None:
        entry["repetitionLeft"] = track.left
    return orjson.dumps(entry)


def from_track(data: bytes) -> Track | None:
    """Read the record of a track; ``None`` when there is nothing in it to use."""
    try:
        entry = orjson.loads(data)
        last = parse_moment(entry["lastFiredTime"], 0)
        left = entry.get("repetitionLeft")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Track(last, left if isinstance(left, int) else None)


def policy_of(entry: object) -> FailurePolicy | None:
    """A failure policy as JSON has it (``{"constant": {"interval": "1s", "maxRetries": 3}}``).

    Raises ``ValueError``.
    """
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise ValueError("failure_policy must be an object")
    if "drop" in entry:
        return DROP
    constant = entry.get("constant")
    if constant is None:
        return None
    if not isinstance(constant, Mapping):
        raise ValueError("failure_policy.constant must be an object")
    interval = constant.get("interval")
    retries = constant.get("maxRetries", constant.get("max_retries"))
    if retries is not None and (type(retries) is not int or not 0 <= retries <= _MOST_RETRIES):
        raise ValueError("failure_policy.constant.maxRetries must be a whole number of 32 bits")
    if interval is not None and not isinstance(interval, str):
        raise ValueError("failure_policy.constant.interval must be a string")
    seconds = 0.0 if interval is None else parse_go_duration(interval).total_seconds()
    return FailurePolicy(max(seconds, 0.0), retries)


def _policy_entry(policy: FailurePolicy | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    if policy == DROP:
        return {"drop": {}}
    constant: dict[str, Any] = {
        "interval": format_go_duration(timedelta(seconds=policy.interval)),
    }
    if policy.retries is not None:
        constant["maxRetries"] = policy.retries
    return {"constant": constant}


def raw_json(data: object) -> bytes:
    """A value as compact JSON, to be kept; integers keep every digit."""
    try:
        return compact(orjson.dumps(data))
    except TypeError:  # an integer past 64 bits
        return encoding.plain(Json(data))
