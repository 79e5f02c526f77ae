from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dapr_common.moments import rfc3339

_EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 999_999, UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=_EAST), "2026-01-01T21:34:05Z"),
        (1_767_323_045, "2026-01-02T03:04:05Z"),
        (1_767_323_045.999, "2026-01-02T03:04:05Z"),
    ],
)
def test_a_moment_in_utc(moment: datetime | float, text: str) -> None:
    assert rfc3339(moment) == text


def test_seconds_beyond_any_calendar() -> None:
    with pytest.raises((OverflowError, ValueError, OSError)):
        rfc3339(1e18)
