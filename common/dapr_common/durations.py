"""Go durations (``1h2m3.5s``) and Kubernetes resource quantities (``4Mi``)."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import ROUND_UP, Decimal

_UNIT_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_SECONDS = Decimal((1 << 63) - 1) / 10**9
_MAX_QUANTITY = (1 << 63) - 1
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
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)([A-Za-z]*)")


def parse_go_duration(text: str) -> timedelta:
    """Parse what Go's ``time.ParseDuration`` takes; ``ValueError`` names the text otherwise."""
    body = text[1:] if text[:1] in "+-" else text
    if body == "0":
        return timedelta(0)
    total, position = Decimal(0), 0
    while position < len(body):
        if (term := _TERM.match(body, position)) is None:
            break
        total += Decimal(term[1]) * _UNIT_SECONDS[term[2]]
        position = term.end()
    if not body or position != len(body):
        raise ValueError(
            f'invalid duration "{text}": expected a Go duration such as 500ms or 1m30s'
        )
    if total > _MAX_SECONDS:
        raise ValueError(f'invalid duration "{text}": more than 292 years')
    micros = int((total * 1_000_000).to_integral_value())
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
        return f"{sign}{_plain(Decimal(micros) / 1000)}ms"
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    text = f"{_plain(Decimal(rest) / 1_000_000)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


def parse_quantity(text: str) -> int:
    """Parse a Kubernetes resource quantity into bytes; ``ValueError`` names the text otherwise."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in _QUANTITY_SUFFIX:
        raise ValueError(f'invalid quantity "{text}": expected a number with a unit such as 4Mi')
    amount = Decimal(match[1]) * _QUANTITY_SUFFIX[match[2]]
    if abs(amount) > _MAX_QUANTITY:
        raise ValueError(f'invalid quantity "{text}": more than 8 EiB')
    # Kubernetes rounds away from zero.
    return int(amount.to_integral_value(ROUND_UP))
