"""Policies under callees that fail in patterns: every attempt at its moment, in virtual time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from unit.resiliency.chaos import TIMED_OUT, Expected, Pattern, down, observed, seeded, slow
from unit.resiliency.plain_breaker import PlainBreaker

OPEN = "circuit breaker is open"


def policies(world: Any, **given: Any) -> Any:
    """``retry``, ``timeout`` and ``breaker`` of a component, inbound and outbound, an app and an
    actor type.
    """
    sections = {"retry": "retries", "timeout": "timeouts", "breaker": "circuitBreakers"}
    fields = {"breaker": "circuitBreaker"}
    names = {fields.get(name, name): "p" for name in given}
    actor = {**names, "circuitBreakerScope": "type"}
    return world.policies(
        {
            "policies": {sections[name]: {"p": value} for name, value in given.items()},
            "targets": {
                "apps": {"a": names},
                "actors": {"T": actor},
                "components": {"c": {"outbound": names, "inbound": names}},
            },
        }
    )


def runner(world: Any, **given: Any) -> Any:
    found = policies(world, **given)
    return lambda: found.component_outbound("c", "Statestore")


# --- written down by hand -----------------------------------------------------------------------


def test_two_seconds_away_under_constant_retries(world: Any) -> None:
    retry = {"policy": "constant", "duration": "600ms", "maxRetries": 10}
    attempts, ends = observed(world, runner(world, retry=retry), down(0, 2), [0, 1])
    assert attempts == [0, 0.6, 1.2, 1.8, 2.4, 3.4]
    assert ends == [(2.4, "fine"), (3.4, "fine")]


def test_constant_retries_that_end_too_early(world: Any) -> None:
    retry = {"duration": 500, "maxRetries": 2}
    attempts, ends = observed(world, runner(world, retry=retry), down(0, 2), [0, 0.4])
    assert attempts == [0, 0.5, 1, 1.4, 1.9, 2.4]
    assert ends == [(1, "it failed"), (2.4, "fine")]


def test_slow_calls_under_a_timeout_and_retries(world: Any) -> None:
    retry = {"duration": "100ms", "maxRetries": 4}
    attempts, ends = observed(
        world, runner(world, retry=retry, timeout="500ms"), slow(30, until=1.3), [0, 0]
    )
    assert attempts == [0, 0.6, 1.2, 1.8, 1.8]
    assert ends == [(1.8, "fine"), (1.8, "fine")]


def test_a_timeout_alone(world: Any) -> None:
    attempts, ends = observed(world, runner(world, timeout="2s"), slow(9, until=3), [0, 0, 0])
    assert attempts == [0, 2, 4]
    assert ends == [(2, TIMED_OUT), (4, TIMED_OUT), (4, "fine")]


def test_a_breaker_opens_probes_once_and_closes(world: Any) -> None:
    breaker = {"trip": "consecutiveFailures >= 3", "timeout": "1500ms", "maxRequests": 1}
    attempts, ends = observed(world, runner(world, breaker=breaker), down(0, 5), [0] + [0.5] * 14)
    # Open from 1.0; half-open is the first look after more than 1.5 s: 3.0 and 5.0.
    assert attempts == [0, 0.5, 1, 3, 5, 5.5, 6, 6.5, 7]
    refused = [(1.5, OPEN), (2, OPEN), (2.5, OPEN), (3.5, OPEN), (4, OPEN), (4.5, OPEN)]
    assert [end for end in ends if end[1] == OPEN] == refused
    assert [event[-1] for event in world.events if event[0] == "activated"] == [
        *("open", "half-open"),
        *("open", "half-open"),
        "closed",
    ]


def test_the_interval_forgives_failures_that_are_far_apart(world: Any) -> None:
    trip = "totalFailures >= 3"
    often = {"trip": trip, "interval": "2s", "timeout": "1h"}
    attempts, ends = observed(world, runner(world, breaker=often), down(0, 99), [0] + [1.5] * 5)
    assert attempts == [0, 1.5, 3, 4.5, 6, 7.5]
    assert OPEN not in {end for _, end in ends}
    never = {"trip": trip, "interval": "0s", "timeout": "1h"}
    world.loop.stand_still(100)
    start = world.loop.time()
    attempts, ends = observed(world, runner(world, breaker=never), down(0, 999), [0] + [1.5] * 5)
    assert [round(moment - start, 6) for moment in attempts] == [0, 1.5, 3]
    assert [end for _, end in ends[3:]] == [OPEN] * 3


def test_half_open_wants_as_many_successes_as_it_admits(world: Any) -> None:
    breaker = {"trip": "consecutiveFailures >= 1", "timeout": "1s", "maxRequests": 3}
    failing = {0, 3}  # the first attempt, and the third probe of the first try

    def pattern(number: int, _: float) -> tuple[float, bool]:
        return 0.0, number not in failing

    gaps = [0, 1.1, 0, 0, 1.1, 0, 0, 0]
    attempts, _ = observed(world, runner(world, breaker=breaker), pattern, gaps)
    assert attempts == [0, 1.1, 1.1, 1.1, 2.2, 2.2, 2.2, 2.2]
    assert [event[-1] for event in world.events if event[0] == "activated"] == [
        *("open", "half-open"),
        *("open", "half-open"),
        "closed",
    ]


def test_a_breaker_within_retries_ends_them_when_it_opens(world: Any) -> None:
    attempts, ends = observed(
        world,
        runner(
            world,
            retry={"duration": "200ms", "maxRetries": -1},
            breaker={"trip": "consecutiveFailures >= 3", "timeout": "1s"},
        ),
        down(0, 1.5),
        [0, 0.3, 0.8],
    )
    # Open from 0.4. At 0.6 the loop ends with the refusal; at 0.9 refused; at 1.7 a probe.
    assert attempts == [0, 0.2, 0.4, 1.7]
    assert ends == [(0.6, OPEN), (0.9, OPEN), (1.7, "fine")]


# --- exponential --------------------------------------------------------------------------------


def exponential(units: Iterator[float], most: float) -> Iterator[float]:
    """The waits: half a second growing by half each time up to a cap, +-50 % of chance."""
    interval, total = 0.5, 0.0
    for unit in units:
        wait = interval * (0.5 + unit)
        if total + wait > 900:
            return
        yield wait
        total += wait
        interval = min(interval * 1.5, most)


def test_exponential_waits_by_their_chances(world: Any) -> None:
    chance = random.Random(7)
    units = [chance.random() for _ in range(8)]
    world.units = iter(units)
    retry = {"policy": "exponential", "maxInterval": "4s", "maxRetries": 8, "duration": "1h"}
    attempts, _ = observed(world, runner(world, retry=retry), down(0, 1e9), [0])
    expected = list(itertools.accumulate(exponential(iter(units), 4), initial=0.0))
    assert attempts == pytest.approx(expected, abs=1e-6)
    for number, (one, two) in enumerate(itertools.pairwise(attempts)):
        middle = min(0.5 * 1.5**number, 4)
        assert middle * 0.5 <= two - one <= middle * 1.5


@pytest.mark.parametrize("unit", [0.0, 0.5, 0.999])
def test_exponential_gives_up_after_a_quarter_of_an_hour(world: Any, unit: float) -> None:
    world.unit = unit
    retry = {"policy": "exponential", "maxRetries": -1}
    attempts, ends = observed(world, runner(world, retry=retry), down(0, 1e9), [0])
    expected = list(itertools.accumulate(exponential(itertools.repeat(unit), 60), initial=0.0))
    assert attempts == pytest.approx(expected, abs=1e-6)
    assert attempts[-1] <= 900 < attempts[-1] + 60 * (0.5 + unit) + 1e-6
    assert ends == [(attempts[-1], "it failed")]


# --- worked out by itself -----------------------------------------------------------------------

_GAPS = [0.0, *[0.7, 0.1, 0.0, 2.3, 0.4] * 8]
_TRIPS = {
    "consecutiveFailures > 2": lambda c: c["consecutiveFailures"] > 2,
    "requests >= 4 && totalFailures * 2 > requests": lambda c: (
        c["requests"] >= 4 and c["totalFailures"] * 2 > c["requests"]
    ),
}
_PATTERNS: dict[str, Pattern] = {
    "down for 3 s": down(0.5, 3.5),
    "down twice": lambda n, now: down(0, 2)(n, now) if now < 6 else down(6, 14)(n, now),
    "slow for a while": slow(1.2, until=9),
}


@pytest.mark.parametrize("pattern", [*_PATTERNS, *range(12)], ids=str)
@pytest.mark.parametrize("trip", _TRIPS)
@pytest.mark.parametrize(
    ("duration", "retries"), [(0.1, 0), (0.3, 2), (0.55, 5)], ids=["once", "twice", "often"]
)
def test_all_policies_together(
    world: Any, pattern: str | int, trip: str, duration: float, retries: int
) -> None:
    def make() -> Pattern:
        return seeded(pattern, longest=1.3) if isinstance(pattern, int) else _PATTERNS[pattern]

    given = runner(
        world,
        retry={"duration": f"{duration}s", "maxRetries": retries},
        timeout="1s",
        breaker={"trip": trip, "interval": "5s", "timeout": "1700ms", "maxRequests": 2},
    )
    breaker = PlainBreaker(_TRIPS[trip], max_requests=2, interval=5, timeout=1.7)
    expected = Expected(make(), lambda: iter([duration] * retries), 1, breaker)
    attempts, ends = expected.calls(_GAPS)
    assert observed(world, given, make(), _GAPS) == (attempts, ends)
    assert len({outcome for _, outcome in ends}) > 1  # something did happen


@pytest.mark.parametrize("lookup", ["outbound", "inbound", "app", "actor"])
def test_every_kind_of_target_does_the_same(world: Any, lookup: str) -> None:
    """Those of an actor without the timeout, which comes after the lock."""
    retry = {"duration": "300ms", "maxRetries": 2}
    breaker = {"trip": "consecutiveFailures > 2", "timeout": "1700ms"}
    found = policies(world, retry=retry, timeout="1s", breaker=breaker)
    ways = {
        "outbound": lambda: found.component_outbound("c", "Binding"),
        "inbound": lambda: found.component_inbound("c", "Binding"),
        "app": lambda: found.app("a", "a:method"),
        "actor": lambda: found.actor_pre_lock("T", "1"),
    }
    expected = Expected(
        seeded(3, longest=1.3),
        lambda: iter([0.3] * 2),
        None if lookup == "actor" else 1,
        PlainBreaker(lambda c: c["consecutiveFailures"] > 2, timeout=1.7),
    )
    assert observed(world, ways[lookup], seeded(3, longest=1.3), _GAPS) == expected.calls(_GAPS)
