"""When an identity is renewed."""

from __future__ import annotations

from datetime import datetime

SPREAD = 0.05
"""The part of a life that renewals are spread over: a fleet started together comes one by one."""


def renew_at(not_before: datetime, not_after: datetime, jitter: float) -> datetime:
    """Half-way through the life, or up to ``SPREAD`` of the life earlier.

    ``jitter`` is in 0 … 1. Earlier and not later, so that nobody renews later than Dapr does.
    """
    return not_before + (not_after - not_before) * (0.5 - SPREAD * jitter)
