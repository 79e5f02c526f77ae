from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.resiliency.trip import VARIABLES, TripError, compile_trip

_ZERO = dict.fromkeys(VARIABLES, 0)


@pytest.mark.parametrize(
    ("text", "counters", "trips"),
    [
        ("consecutiveFailures > 5", {"consecutiveFailures": 5}, False),
        ("consecutiveFailures > 5", {"consecutiveFailures": 6}, True),
        ("consecutiveFailures >= 3 && requests > 4", {"consecutiveFailures": 3}, False),
        ("totalFailures * 2 > requests", {"totalFailures": 3, "requests": 5}, True),
        ("totalFailures / requests > 0", {"totalFailures": 3, "requests": 5}, False),
        ("double(totalFailures) / double(requests) > 0.5", {"totalFailures": 3, "requests": 5}, 1),
        ("!(requests < 10) || false", {"requests": 10}, True),
        ("requests in [1, 2, 3]", {"requests": 2}, True),
        ("requests in []", {"requests": 2}, False),
        ("requests > 3 ? totalFailures > 1 : true", {"requests": 1}, True),
        ("requests - 2 * 3 == -1", {"requests": 5}, True),
        ("-7 / 2 == -3 && -7 % 2 == -1", {}, True),
        ("int(2.9) == 2", {}, True),
        ("true", {}, True),
        ("1 + 2 * 3 == 7", {}, True),
        ("(1 + 2) * 3 == 9", {}, True),
        ("--requests == 4", {"requests": 4}, True),
        ("0x10 == 16", {}, True),
        # Errors of evaluation do not trip, unless the other side decides.
        ("totalFailures / requests > 0", {}, False),
        ("totalFailures / requests > 0 || true", {}, True),
        ("totalFailures % requests == 0 && false", {}, False),
        ("9223372036854775807 + requests > 0", {"requests": 1}, False),
    ],
)
def test_evaluation(text: str, counters: dict[str, int], trips: object) -> None:
    assert compile_trip(text)({**_ZERO, **counters}) is bool(trips)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "requests",
        "requests + 1",
        "failures > 3",
        "requests >",
        "requests > 3 &&",
        "requests && true",
        "!requests",
        "-true == 1",
        "true > 1",
        "requests > 3)",
        "(requests > 3",
        "requests @ 3",
        "1 + 1.5 > 2.0",
        "__import__('os')",
        "requests.real > 1",
        "99999999999999999999 > 1",
        "requests in [true]",
        "int(true) > 0",
        "(" * 500 + "true" + ")" * 500,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(TripError):
        compile_trip(text)


@settings(deadline=None)
@given(st.text(alphabet="requsti01.5<>=!&|()+-*/%?:[], ", max_size=30))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    try:
        trip = compile_trip(text)
    except TripError:
        return
    assert trip(_ZERO) in (True, False)


@settings(deadline=None)
@given(*(st.integers(-50, 50),) * 3)
def test_arithmetic_agrees_with_python(a: int, b: int, c: int) -> None:
    assert compile_trip(f"{a} + {b} * {c} == {a + b * c}")(_ZERO)
    assert compile_trip(f"({a} - {b}) * {c} <= {(a - b) * c}")(_ZERO)
    if b:
        assert compile_trip(f"({a} / {b}) * {b} + {a} % {b} == {a}")(_ZERO)
