"""How bad a line is and when it was written, as daprd, other programs and people write them."""

from __future__ import annotations

import pytest

from dapr_dashboard.log_lines import level, nanoseconds

TEN = 1795687200 * 10**9


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('time="2026-11-26T10:00:00Z" level=warning msg="x"', "warning"),
        ('{"level":"error","msg":"x"}', "error"),
        ('{"msg": "x", "level": "INFO"}', "info"),
        ("level=warn x", "warning"),
        ("level=panic x", "fatal"),
        ("level=loud error", "error"),
        ("ERROR: no", "error"),
        ("hello", "info"),
        ("x" * 500 + " level=error", "info"),
        ("", "info"),
    ],
)
def test_levels(line: str, expected: str) -> None:
    assert level(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('time="2026-11-26T10:00:00.123456789Z" level=info', TEN + 123456789),
        ('{"time":"2026-11-26T12:00:00.5+02:00"}', TEN + 500_000_000),
        ("2026-11-26 10:00:00 hello", TEN),
        ("2026-11-26T10:00:00Z", TEN),
        ("2026-13-41T10:00:00Z", 0),
        ("hello", 0),
        ("at 2026-11-26T10:00:00Z", 0),
    ],
)
def test_times(line: str, expected: int) -> None:
    assert nanoseconds(line) == expected
