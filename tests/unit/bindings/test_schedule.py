from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_sidecar.components.bindings.schedule import Cron, Every, parse_schedule


def seconds(text: str, zone: str = "UTC", fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp())


def following(schedule: str, after: str, zone: str = "UTC", count: int = 1) -> list[str]:
    parsed = parse_schedule(f"CRON_TZ={zone} {schedule}")
    moment, found = seconds(after, zone), []
    for _ in range(count):
        due = parsed.next(moment)
        assert due is not None
        moment = due
        found.append(f"{datetime.fromtimestamp(due, ZoneInfo(zone)):%Y-%m-%d %H:%M:%S%z}")
    return found


def test_five_fields_and_six() -> None:
    assert following("15 * * * *", "2026-07-09T14:59:59") == ["2026-07-09 15:15:00+0000"]
    assert following("30 15 * * * *", "2026-07-09T14:59:59") == ["2026-07-09 15:15:30+0000"]
    assert following("*/20 * * * * ?", "2026-01-01T00:00:00", count=3) == [
        "2026-01-01 00:00:20+0000",
        "2026-01-01 00:00:40+0000",
        "2026-01-01 00:01:00+0000",
    ]


def test_names_lists_ranges_and_steps() -> None:
    assert following("0 0 1 JAN,jul *", "2026-01-01T00:00:00") == ["2026-07-01 00:00:00+0000"]
    assert following("0 9-17/4 * * MON-FRI", "2026-07-10T13:00:00", count=2) == [
        "2026-07-10 17:00:00+0000",
        "2026-07-13 09:00:00+0000",
    ]
    assert following("50/5 * * * *", "2026-07-10T13:50:00") == ["2026-07-10 13:55:00+0000"]


def test_two_restricted_day_fields_are_alternatives() -> None:
    # 2026-07-01 is a Wednesday.
    assert following("0 0 15 * fri", "2026-07-01T00:00:00", count=3) == [
        "2026-07-03 00:00:00+0000",
        "2026-07-10 00:00:00+0000",
        "2026-07-15 00:00:00+0000",
    ]
    assert following("0 0 ? * fri", "2026-07-10T00:00:00") == ["2026-07-17 00:00:00+0000"]
    # A step makes even a star a restriction.
    assert following("0 0 */31 * fri", "2026-07-01T00:00:00") == ["2026-07-03 00:00:00+0000"]
    assert following("0 0 */1 * fri", "2026-07-01T00:00:00") == ["2026-07-03 00:00:00+0000"]


def test_dates_that_are_rare_and_that_never_come() -> None:
    assert following("0 0 29 2 *", "2026-07-01T00:00:00") == ["2028-02-29 00:00:00+0000"]
    assert parse_schedule("0 0 31 2 *").next(0) is None


def test_a_skipped_hour_does_not_come_and_a_repeated_one_comes_twice() -> None:
    zone = "America/New_York"
    assert following("30 2 * * *", "2026-03-07T12:00:00", zone) == ["2026-03-09 02:30:00-0400"]
    assert following("30 1 * * *", "2026-11-01T00:00:00", zone, 3) == [
        "2026-11-01 01:30:00-0400",
        "2026-11-01 01:30:00-0500",
        "2026-11-02 01:30:00-0500",
    ]
    assert following("0 3 * * *", "2026-03-08T00:00:00", zone) == ["2026-03-08 03:00:00-0400"]


def test_midnight_that_does_not_exist() -> None:
    # Clocks went from 23:59:59 to 01:00:00.
    zone = "America/Santiago"
    assert following("0 0 * * *", "2026-09-05T12:00:00", zone) == ["2026-09-07 00:00:00-0300"]
    assert following("15 1 6 9 *", "2026-09-05T12:00:00", zone) == ["2026-09-06 01:15:00-0300"]


def test_words() -> None:
    after = "2026-07-09T14:30:00"
    expected = {
        "@yearly": "2027-01-01 00:00:00",
        "@annually": "2027-01-01 00:00:00",
        "@monthly": "2026-08-01 00:00:00",
        "@weekly": "2026-07-12 00:00:00",
        "@daily": "2026-07-10 00:00:00",
        "@midnight": "2026-07-10 00:00:00",
        "@hourly": "2026-07-09 15:00:00",
    }
    for word, due in expected.items():
        assert following(word, after) == [due + "+0000"]


@pytest.mark.parametrize(
    ("text", "length"), [("@every 1s", 1), ("@every 1h30m", 5400), ("@every 10ms", 1)]
)
def test_every(text: str, length: int) -> None:
    assert parse_schedule(text) == Every(length)
    assert parse_schedule(text).next(100) == 100 + length


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a schedule",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 7",
        "* * * * mon-sun",
        "5-1 * * * *",
        "*/0 * * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "x * * * *",
        ", * * * *",
        "@often",
        "@every soon",
        "@every",
        "CRON_TZ=Nowhere/Land * * * * *",
        "TZ=../../etc/passwd * * * * *",
    ],
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError):
        parse_schedule(text)


# --- against a slow search ----------------------------------------------------------------------


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    starts = st.one_of(st.just("*"), number.map(str), spans)
    steps = st.one_of(st.just(""), st.integers(1, 9).map(lambda step: f"/{step}"))
    part = st.tuples(starts, steps).map("".join)
    return st.one_of(
        st.just("*"), number.map(str), st.lists(part, min_size=1, max_size=3).map(",".join)
    )


def allowed(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first, last = int(span), (high if step else int(span))
        found |= {
            value for value in range(first, last + 1) if (value - first) % int(step or 1) == 0
        }
    return found


LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
STARTS = [
    ("UTC", "2026-12-31T22:10:00"),
    ("America/New_York", "2026-03-07T20:00:30"),
    ("America/New_York", "2026-10-31T22:00:00"),
    ("Australia/Lord_Howe", "2026-04-04T20:00:00"),
    ("Australia/Lord_Howe", "2026-10-03T20:00:00"),
    ("America/Santiago", "2026-09-05T20:00:00"),
    ("America/St_Johns", "2010-11-06T20:00:00"),
    ("Asia/Kathmandu", "2026-02-27T23:00:00"),
]


@settings(max_examples=150, deadline=None)
@given(
    fields=st.tuples(*(field(low, high) for low, high in LIMITS)),
    start=st.sampled_from(STARTS),
    second=st.integers(0, 59),
)
def test_next_is_the_first_match(
    fields: tuple[str, ...], start: tuple[str, str], second: int
) -> None:
    zone, text = start
    after = seconds(text, zone)
    parsed = parse_schedule(f"CRON_TZ={zone} {second} {' '.join(fields)}")
    assert isinstance(parsed, Cron)
    due = parsed.next(after)
    minute, hour, day, month, weekday = (
        allowed(one, *limits) for one, limits in zip(fields, LIMITS, strict=True)
    )
    stars = any(
        part[0] == "*" and part.partition("/")[2] in ("", "1")
        for index in (2, 4)
        for part in fields[index].split(",")
    )

    def matches(moment: int) -> bool:
        local = datetime.fromtimestamp(moment, ZoneInfo(zone))
        in_month, in_week = local.day in day, (local.weekday() + 1) % 7 in weekday
        return (
            local.second == second
            and local.minute in minute
            and local.hour in hour
            and local.month in month
            and ((in_month and in_week) if stars else (in_month or in_week))
        )

    # Offsets of these zones are whole minutes, so only one second of each minute can match.
    first = after + 1 + (second - (after + 1)) % 60
    horizon = first + 2 * 86_400
    found = next((moment for moment in range(first, horizon, 60) if matches(moment)), None)
    if found is not None:
        assert due == found
    else:
        assert due is None or (due >= horizon and matches(due))


def test_local_time_is_the_process_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        due = parse_schedule("0 12 * * *").next(seconds("2026-01-01T00:00:00"))
        assert due is not None
        assert datetime.fromtimestamp(due, UTC).isoformat() == "2026-01-01T06:15:00+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
