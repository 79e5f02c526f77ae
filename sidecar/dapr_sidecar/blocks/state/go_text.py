"""Decoded JSON as Go prints it without a format: what Dapr puts where text is wanted."""

from __future__ import annotations

import math

_PLAIN = range(-4, 6)
"""The decimal exponents that Go writes without an exponent."""


def go_text(value: object) -> str:
    """``map[a:1 b:[1 2]]``, ``<nil>``, ``1e+06``; texts are bare."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    return str(value)


def _number(value: float) -> str:
    """A JSON number, which is a 64-bit float in Go; integers that are none keep their digits."""
    from decimal import Decimal  # half a megabyte that few sidecars need

    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    shortest = Decimal(repr(value)).normalize()
    exponent = shortest.adjusted() if value else 0
    if exponent in _PLAIN:
        return format(shortest, "f")
    return f"{shortest.scaleb(-exponent):f}e{exponent:+03d}"
