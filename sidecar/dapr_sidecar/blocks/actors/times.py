"""When timers and reminders are due: Dapr's forms of due times, periods and times to live.

Moments are seconds since the epoch, spans are seconds. Every function is pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from dapr_common.durations import parse_go_duration

_ISO = re.compile(r"(?:R(-?[0-9]{0,19}))?(/?)(?:P(.*))?", re.DOTALL)
_TERM = re.compile(r"([0-9]+)([YMWDHS])")
_DATE_UNITS = {"W": 7 * 86400, "D": 86400}
_TIME_UNITS = {"H": 3600, "M": 60, "S": 1}
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_MOST_RUNS = 2**63 - 1
_FIRST, _LAST = -62135596800.0, 253402300799.0
"""The years 1 to 9999: the calendar has no name for other moments."""


class TimeFormatError(ValueError):
    """A text is no time or duration; the message is the one Dapr's users know."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time between two ticks and how many there are in all.

    Months go by the calendar; everything else is ``seconds``.
    """

    months: int = 0
    seconds: float = 0.0
    repeats: int | None = None
    """Runs in all; ``None`` is without end."""

    @property
    def recurs(self) -> bool:
        """Whether there is anything after the first tick."""
        return self.months > 0 or self.seconds > 0

    def after(self, moment: float) -> float:
        """The tick that follows one at ``moment``; infinity when there is none."""
        if not self.recurs:
            return math.inf
        if self.months:
            moment = _add_months(moment, self.months)
        following = moment + self.seconds
        return following if following <= _LAST else math.inf

    def newest(self, tick: float, now: float) -> float:
        """The last tick that is not after ``now``, counted from one that was due at ``tick``.

        Ticks that were missed count as this one.
        """
        if not self.recurs or tick >= now:
            return tick
        if not self.months:
            return tick + math.floor((now - tick) / self.seconds) * self.seconds
        while (following := self.after(tick)) <= now:
            tick = following
        return tick


ONCE = Period()


@lru_cache(maxsize=256)
def parse_period(text: str) -> Period:
    """Read ``1h30m``, ``PT10S``, ``R5/P1M`` or ``R5``; an empty text is no period.

    Raises ``TimeFormatError``. A negative Go duration, which some SDKs send for "not again", is no
    period. ``R0`` is a period with no runs: the caller refuses it.
    """
    if not text:
        return ONCE
    if text[0] not in "PR":
        return Period(seconds=max(_go_seconds(text, "unsupported duration format"), 0.0))
    matched = _ISO.fullmatch(text)
    if matched is None:
        raise TimeFormatError(f"unsupported duration format: {text}")
    repeats, slash, span = matched.groups()
    if (bool(slash) != (repeats is not None and span is not None)) or repeats == "-":
        raise TimeFormatError(f"unsupported duration format: {text}")
    months, seconds = (0, 0.0) if span is None else _iso_span(span, text)
    count = int(repeats) if repeats else -1
    if count > _MOST_RUNS:
        raise TimeFormatError(f"unsupported duration format: {text}")
    return Period(months, seconds, None if count < 0 else count)


def parse_moment(text: str, base: float) -> float:
    """Read a time of RFC 3339, or a duration counted from ``base``. Raises ``TimeFormatError``."""
    if (matched := _RFC3339.fullmatch(text)) is not None:
        moment = _rfc3339(matched, text)
    elif text[:1] in ("P", "R"):
        moment = _after_iso(text, base)
    else:
        moment = base + _go_seconds(text, "unsupported time/duration format")
    if not _FIRST <= moment <= _LAST:
        raise TimeFormatError(f"unsupported time/duration format: {text}")
    return moment


def format_moment(moment: float) -> str:
    """RFC 3339 in UTC, with a fraction only where there is one."""
    whole, micros = divmod(round(moment * 1_000_000), 1_000_000)
    text = datetime.fromtimestamp(whole, UTC).isoformat()[:-6]
    return f"{text}.{micros:06d}".rstrip("0") + "Z" if micros else text + "Z"


def expiry(ttl: str, due: float) -> float | None:
    """When a time to live, which counts from the due time, ends; ``None`` without one.

    Raises ``TimeFormatError``.
    """
    return parse_moment(ttl, due) if ttl else None


def _after_iso(text: str, base: float) -> float:
    try:
        period = parse_period(text)
    except TimeFormatError:
        raise TimeFormatError(f"unsupported time/duration format: {text}") from None
    if text[0] == "R":
        raise TimeFormatError(f"repetitions are not allowed in a due time or TTL: {text}")
    return period.after(base) if period.recurs else base


def _go_seconds(text: str, problem: str) -> float:
    try:
        seconds = parse_go_duration(text).total_seconds()
    except ValueError:
        raise TimeFormatError(f"{problem}: {text}") from None
    return seconds


def _iso_span(span: str, text: str) -> tuple[int, float]:
    dates, mark, times = span.partition("T")
    if not (dates or times) or (mark and not times):
        raise TimeFormatError(f"unsupported duration format: {text}")
    months, seconds = 0, 0
    for unit, number in _terms(dates, text).items():
        if unit in "YM":
            months += number * (12 if unit == "Y" else 1)
        else:
            seconds += number * _unit(_DATE_UNITS, unit, text)
    for unit, number in _terms(times, text).items():
        seconds += number * _unit(_TIME_UNITS, unit, text)
    if seconds + months * 31 * 86400 > _LAST - _FIRST:
        raise TimeFormatError(f"unsupported duration format: {text}")
    return months, float(seconds)


def _unit(units: dict[str, int], unit: str, text: str) -> int:
    if unit not in units:
        raise TimeFormatError(f"unsupported duration format: {text}")
    return units[unit]


def _terms(part: str, text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    position = 0
    while position < len(part):
        term = _TERM.match(part, position)
        if term is None or term[2] in found or len(term[1]) > 12:
            raise TimeFormatError(f"unsupported duration format: {text}")
        found[term[2]] = int(term[1])
        position = term.end()
    return found


def _rfc3339(matched: re.Match[str], text: str) -> float:
    day, clock, fraction, zone = matched.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone.upper()}")
    except ValueError:
        raise TimeFormatError(f"unsupported time/duration format: {text}") from None
    return moment.timestamp() + float(fraction or 0)


def _add_months(moment: float, months: int) -> float:
    """The same day of a later month, counting on where that month is too short (as Go does)."""
    start = datetime.fromtimestamp(moment, UTC)
    index = start.year * 12 + start.month - 1 + months
    if index >= 9999 * 12:
        return math.inf
    first = start.replace(year=index // 12, month=index % 12 + 1, day=1)
    return (first + timedelta(days=start.day - 1)).timestamp()
