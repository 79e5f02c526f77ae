"""Moments as texts."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime | float) -> str:
    """``2026-01-02T03:04:05Z``: RFC 3339 in UTC, whole seconds, the rest cut off.

    ``moment`` has a zone, or is seconds since the epoch. Raises ``OverflowError``, ``ValueError``
    or ``OSError`` for more of these than a calendar has.
    """
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    elif moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
