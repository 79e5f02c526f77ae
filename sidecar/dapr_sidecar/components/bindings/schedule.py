"""Cron schedules: five fields, or six with leading seconds, ``@`` words and ``CRON_TZ=``.

A schedule matches whole seconds of a wall clock. A wall time that the clocks skip never comes, one
that they repeat comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dapr_common.durations import parse_go_duration

_DAY = 86_400
_HORIZON_DAYS = 5 * 366  # a date that does not come in five years never comes
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_WORDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)\s+(.*)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]+", re.ASCII)

Wall = Callable[[int], datetime]
"""Seconds since 1970 → the local time, with its offset."""


class Schedule(Protocol):
    """When something is due."""

    def next(self, after: int) -> int | None:
        """The first due second later than ``after``, or ``None``. Seconds since 1970."""


def local_wall(seconds: int) -> datetime:
    """The process's own time zone."""
    return datetime.fromtimestamp(seconds).astimezone()


@dataclass(frozen=True, slots=True)
class Every:
    """``@every``: a fixed number of seconds apart."""

    seconds: int

    def next(self, after: int) -> int:
        return after + self.seconds


@dataclass(frozen=True, slots=True)
class Field:
    """The values of one field; ``any`` when it was given as ``*`` or ``?``."""

    values: frozenset[int]
    any: bool = False


@dataclass(frozen=True, slots=True)
class Cron:
    """The fields of a schedule and the clock they are read on."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    wall: Wall

    def next(self, after: int) -> int | None:
        moment = after + 1
        end = moment + _HORIZON_DAYS * _DAY
        while moment < end:
            local = self.wall(moment)
            wait = self._mismatch(local)
            if wait == 0:
                return moment
            moment = self._jump(moment, local, wait)
        return None

    def is_due(self, local: datetime) -> bool:
        """Whether a local time matches."""
        return self._mismatch(local) == 0

    def _mismatch(self, local: datetime) -> int:
        """Seconds of wall time until the coarsest field that does not match can change."""
        if not self._day_matches(local):
            return _DAY - local.hour * 3600 - local.minute * 60 - local.second
        if local.hour not in self.hour.values:
            return 3600 - local.minute * 60 - local.second
        if local.minute not in self.minute.values:
            return 60 - local.second
        return 0 if local.second in self.second.values else 1

    def _day_matches(self, local: datetime) -> bool:
        if local.month not in self.month.values:
            return False
        in_month = local.day in self.day.values
        in_week = local.isoweekday() % 7 in self.weekday.values
        # Cron's old rule: two restricted day fields are alternatives.
        if self.day.any or self.weekday.any:
            return in_month and in_week
        return in_month or in_week

    def _jump(self, moment: int, local: datetime, wait: int) -> int:
        """Go ahead by ``wait``, but not past a change of the clocks."""
        offset = local.utcoffset()
        if self.wall(moment + wait).utcoffset() == offset:
            return moment + wait
        low, high = moment, moment + wait
        while high - low > 1:
            middle = (low + high) // 2
            if self.wall(middle).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return high


def parse_schedule(text: str, wall: Wall = local_wall) -> Schedule:
    """Read a schedule. Raises ``ValueError`` that says what is wrong."""
    text = text.strip()
    if (zone := _ZONE.fullmatch(text)) is not None:
        wall, text = _zone_wall(zone[1]), zone[2].strip()
    if text.startswith("@every "):
        seconds = int(parse_go_duration(text.removeprefix("@every ").strip()).total_seconds())
        return Every(max(seconds, 1))
    if text.startswith("@"):
        if text not in _WORDS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError(f"expected 5 to 6 fields, found {len(fields)}: {fields}")
    return Cron(
        _field(fields[0], 0, 59),
        _field(fields[1], 0, 59),
        _field(fields[2], 0, 23),
        _field(fields[3], 1, 31),
        _field(fields[4], 1, 12, _MONTHS),
        _field(fields[5], 0, 6, _WEEKDAYS),
        wall,
    )


def _zone_wall(name: str) -> Wall:
    try:
        zone = ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error
    return lambda seconds: datetime.fromtimestamp(seconds, zone)


def _field(text: str, low: int, high: int, names: list[str] | None = None) -> Field:
    values: set[int] = set()
    is_any = False
    for part in text.split(","):
        if not part:
            continue
        start, end, step = _range(part, low, high, names or [])
        values.update(range(start, end + 1, step))
        is_any = is_any or (part[0] in "*?" and step == 1)
    if not values:
        raise ValueError(f"empty field: {text}")
    return Field(frozenset(values), is_any)


def _range(part: str, low: int, high: int, names: list[str]) -> tuple[int, int, int]:
    span, slash, step_text = part.partition("/")
    first, dash, last = span.partition("-")
    step = _value(step_text, low, []) if slash else 1
    if first in ("*", "?"):
        if dash:
            raise ValueError(f"too many hyphens: {part}")
        start, end = low, high
    else:
        start = _value(first, low, names)
        end = _value(last, low, names) if dash else (high if slash else start)
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    return start, end, step


def _value(text: str, low: int, names: list[str]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"failed to parse int from {text!r}")
    return int(text)
