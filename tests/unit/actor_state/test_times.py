"""Due times, periods and times to live, in every form Dapr takes."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_sidecar.blocks.actors.times import (
    ONCE,
    Period,
    TimeFormatError,
    expiry,
    format_moment,
    parse_moment,
    parse_period,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("", ONCE),
        ("0s", ONCE),
        ("2s", Period(seconds=2)),
        ("0h0m5s0ms", Period(seconds=5)),
        ("1h30m", Period(seconds=5400)),
        ("500ms", Period(seconds=0.5)),
        ("-1ms", ONCE),
        ("PT10S", Period(seconds=10)),
        ("PT1M", Period(seconds=60)),
        ("P1M", Period(months=1)),
        ("P1Y2M3W4DT5H6M7S", Period(months=14, seconds=25 * 86400 + 5 * 3600 + 6 * 60 + 7)),
        ("PT7S6M5H", Period(seconds=5 * 3600 + 6 * 60 + 7)),
        ("R3/PT1S", Period(seconds=1, repeats=3)),
        ("R/PT1S", Period(seconds=1)),
        ("R-1/PT1S", Period(seconds=1)),
        ("R0/PT1S", Period(seconds=1, repeats=0)),
        ("R5", Period(repeats=5)),
        (f"R{2**63 - 1}/PT1S", Period(seconds=1, repeats=2**63 - 1)),
    ],
)
def test_periods(text: str, period: Period) -> None:
    assert parse_period(text) == period


@pytest.mark.parametrize(
    "text",
    [
        "R2/PT0.2S",
        "P",
        "PT",
        "P1DT",
        "P1S",
        "PT1D",
        "PT1S1S",
        "R3PT1S",
        "R3/",
        "R3/2s",
        "Rx/PT1S",
        "/PT1S",
        "never",
        "10",
        "P-1D",
        "P99999999999999Y",
        "P9999999Y",
        f"R{2**63}/PT1S",
        f"R{'9' * 5000}/PT1S",
        "R٣/PT1S",
        "PT٣S",
    ],
)
def test_other_periods_are_refused_in_dapr_s_words(text: str) -> None:
    with pytest.raises(TimeFormatError) as refused:
        parse_period(text)
    assert str(refused.value) == f"unsupported duration format: {text}"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0s", NOON),
        ("1h", NOON + 3600),
        ("PT1S", NOON + 1),
        ("P1D", NOON + 86400),
        ("P0D", NOON),
        ("P1M", at("2026-03-03T12:00:00Z")),
        ("2026-02-03T04:05:06Z", at("2026-02-03T04:05:06Z")),
        ("2026-02-03T04:05:06.25+01:00", at("2026-02-03T03:05:06.25Z")),
        ("2026-02-03t04:05:06z", at("2026-02-03T04:05:06Z")),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert parse_moment(text, NOON) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["xx", "2026-02-03", "2026-02-30T00:00:00Z", "PT", "2026-02-03T04:05:06", "12"]
)
def test_other_moments_are_refused_in_dapr_s_words(text: str) -> None:
    with pytest.raises(TimeFormatError) as refused:
        parse_moment(text, NOON)
    assert str(refused.value) == f"unsupported time/duration format: {text}"


def test_repetitions_have_no_place_in_a_due_time() -> None:
    with pytest.raises(TimeFormatError, match="repetitions are not allowed"):
        parse_moment("R2/PT1S", NOON)


def test_a_ttl_counts_from_the_due_time() -> None:
    assert expiry("10s", NOON + 5) == NOON + 15
    assert expiry("", NOON) is None


def test_months_go_by_the_calendar() -> None:
    month = parse_period("P1M")
    assert format_moment(month.after(at("2026-04-15T01:02:03Z"))) == "2026-05-15T01:02:03Z"
    assert format_moment(month.after(at("2026-01-31T00:00:00Z"))) == "2026-03-03T00:00:00Z"
    assert format_moment(month.after(at("2026-12-31T00:00:00Z"))) == "2027-01-31T00:00:00Z"


def test_after_the_calendar_s_end_there_is_no_tick() -> None:
    assert parse_period("P8000Y").after(NOON) == math.inf
    assert parse_period("P2950000D").after(NOON) == math.inf
    with pytest.raises(TimeFormatError, match="unsupported time/duration format: P8000Y"):
        parse_moment("P8000Y", NOON)


def test_missed_ticks_count_as_the_newest_of_them() -> None:
    ten = Period(seconds=10)
    assert ten.newest(NOON, NOON - 1) == NOON
    assert ten.newest(NOON, NOON + 9.9) == NOON
    assert ten.newest(NOON, NOON + 35) == NOON + 30
    assert ten.newest(NOON, NOON + 40) == NOON + 40
    assert ONCE.newest(NOON, NOON + 40) == NOON
    month = Period(months=1)
    start = at("2026-01-15T00:00:00Z")
    assert month.newest(start, at("2026-04-20T00:00:00Z")) == at("2026-04-15T00:00:00Z")


@given(st.floats(0, 4e9), st.floats(0.001, 1e6), st.floats(0, 1e7))
def test_the_newest_tick_is_not_after_now_and_the_next_one_is(
    tick: float, seconds: float, late: float
) -> None:
    period, now = Period(seconds=seconds), tick + late
    newest = period.newest(tick, now)
    slack = seconds * 1e-3 + 1e-6
    assert tick <= newest <= now + slack
    assert period.after(newest) > now - slack


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_moment_that_is_written_and_read_is_the_same(micros: int) -> None:
    moment = parse_moment(format_moment(micros / 1e6), 0)
    assert parse_moment(format_moment(moment), 0) == moment
    assert moment == pytest.approx(micros / 1e6, abs=1e-6)


@given(st.text(alphabet="PTRWDHMSYZ0123456789/.-:+ mhns", max_size=20))
def test_no_text_fails_in_another_way(text: str) -> None:
    for read in (parse_period, lambda t: parse_moment(t, NOON)):
        with contextlib.suppress(TimeFormatError):
            read(text)


@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 9999),
    st.one_of(st.none(), st.integers(1, 1000)),
)
def test_a_period_means_what_its_parts_mean(
    days: int, hours: int, seconds: int, repeats: int | None
) -> None:
    text = f"P{days}DT{hours}H{seconds}S"
    prefix = "" if repeats is None else f"R{repeats}/"
    total = float(days * 86400 + hours * 3600 + seconds)
    assert parse_period(prefix + text) == Period(0, total, repeats)
