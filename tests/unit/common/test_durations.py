from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.durations import format_go_duration, parse_go_duration, parse_quantity

CENTURIES = timedelta(days=365 * 290)


@given(st.timedeltas(-CENTURIES, CENTURIES))
def test_what_is_printed_is_read_back(duration: timedelta) -> None:
    assert parse_go_duration(format_go_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("1s", 1),
        ("1m30s", 90),
        ("1h2m3.5s", 3723.5),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("1000ns", 1e-6),
        ("1ns", 0),
        ("+2s", 2),
        ("-1m", -60),
        ("1s1s", 2),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_go_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "+", "-", "1", "s", "1 s", "1d", "1S", "--1s", "1s ", "1e3s", ".s", "\u0661s", "2562048h"],
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_go_duration(text)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_go_duration(text)


def test_a_long_number_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r'"9{20}…": it has 100001 characters'):
        parse_go_duration("9" * 100_000 + "h")
    with pytest.raises(ValueError, match="it has 5000 characters"):
        parse_quantity("9" * 5_000)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(microseconds=7), "7µs"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=1), "1h0m0s"),
        (timedelta(seconds=-2.5), "-2.5s"),
    ],
)
def test_durations_are_printed_as_go_does(duration: timedelta, text: str) -> None:
    assert format_go_duration(duration) == text


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4Mi", 4 << 20),
        ("4Ki", 4096),
        ("16", 16),
        ("1.5k", 1500),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("-1", -1),
        ("0.5", 1),
        ("-0.5", -1),
        (" 2M ", 2_000_000),
        ("7Ei", 7 << 60),
    ],
)
def test_quantities(text: str, amount: int) -> None:
    assert parse_quantity(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "Mi", "4mi", "4 Mi", "4MB", "x", "\u0664", "8Ei", "1e999", "1e999999999", "9" * 100_000],
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="invalid quantity"):
        parse_quantity(text)


@given(st.text())
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert abs(parse_quantity(text)) < 1 << 63
