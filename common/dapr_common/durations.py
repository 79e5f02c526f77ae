"""Go durations (``1h2m3.5s``) and Kubernetes resource quantities (``4Mi``), in whole numbers.

Not by ``decimal``, which would bring half a megabyte into every program.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNIT_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_INT64 = (1 << 63) - 1
LONGEST_GO_SECONDS = _MAX_INT64 // 10**9
_LONGEST_TEXT = 1000
_QUANTITY_SUFFIX = {
    "": 1,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
}
_QUANTITY = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,3}))?([A-Za-z]*)")


def parse_go_duration(text: str) -> timedelta:
    """Parse what Go's ``time.ParseDuration`` takes; ``ValueError`` names the text otherwise."""
    _bound("duration", text)
    body = text[1:] if text[:1] in "+-" else text
    if body == "0":
        return timedelta(0)
    total, scale, position = 0, 1, 0  # nanoseconds are total / scale
    while position < len(body):
        if (term := _TERM.match(body, position)) is None:
            break
        number, parts = _number(term[1])
        total = total * parts + number * _UNIT_NANOSECONDS[term[2]] * scale
        scale *= parts
        position = term.end()
    if not body or position != len(body):
        raise ValueError(
            f'invalid duration "{text}": expected a Go duration such as 500ms or 1m30s'
        )
    if total > _MAX_INT64 * scale:
        raise ValueError(f'invalid duration "{text}": more than 292 years')
    micros = _half_even(total, 1000 * scale)
    return timedelta(microseconds=-micros if text.startswith("-") else micros)


def format_go_duration(duration: timedelta) -> str:
    """Print a duration as Go's ``Duration.String`` does (``1m30s``, ``500ms``, ``0s``)."""
    micros = duration // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1_000:
        return f"{sign}{micros}µs"
    if micros < 1_000_000:
        return f"{sign}{_plain(micros, 3)}ms"
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    text = f"{_plain(rest, 6)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def parse_quantity(text: str) -> int:
    """Parse a Kubernetes resource quantity into bytes; ``ValueError`` names the text otherwise."""
    _bound("quantity", text)
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[4] not in _QUANTITY_SUFFIX:
        raise ValueError(f'invalid quantity "{text}": expected a number with a unit such as 4Mi')
    number, parts = _number(match[2])
    power = int(match[3] or 0)
    total = number * _QUANTITY_SUFFIX[match[4]] * int(10 ** max(power, 0))
    parts *= int(10 ** max(-power, 0))
    if total > _MAX_INT64 * parts:
        raise ValueError(f'invalid quantity "{text}": more than 8 EiB')
    amount = -(-total // parts)  # Kubernetes rounds away from zero
    return -amount if match[1] == "-" else amount


def _bound(what: str, text: str) -> None:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f'invalid {what} "{text[:20]}…": it has {len(text)} characters')


def _number(text: str) -> tuple[int, int]:
    """``12.5`` as 125 and the 10 it is to be divided by."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction), 10 ** len(fraction)


def _half_even(total: int, parts: int) -> int:
    whole, rest = divmod(total, parts)
    return whole + (2 * rest > parts or (2 * rest == parts and whole % 2))


def _plain(number: int, digits: int) -> str:
    """``number`` with so many digits after the point, but no zeros at the end."""
    whole, rest = divmod(number, 10**digits)
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")
