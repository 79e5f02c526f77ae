from __future__ import annotations

import pytest

from dapr_common.resiliency.policies import BreakerPolicy
from dapr_common.resiliency.trip import compile_trip
from dapr_sidecar.resiliency.base import CircuitOpenError
from dapr_sidecar.resiliency.breaker import BreakerCache, CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, **settings: object) -> CircuitBreaker:
    trip = compile_trip(str(settings.pop("trip", "consecutiveFailures >= 3")))
    return CircuitBreaker("b", BreakerPolicy("cb", trip=trip, **settings), clock)  # type: ignore[arg-type]


def call(breaker: CircuitBreaker, success: bool) -> None:
    breaker.after(breaker.before(), success)


def test_opens_refuses_half_opens_and_closes() -> None:
    clock = Clock()
    breaker = make(clock, timeout=10.0)
    for _ in range(3):
        assert breaker.state == "closed"
        call(breaker, False)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError, match="circuit breaker is open"):
        breaker.before()
    clock.now += 10.0
    assert breaker.state == "open"
    clock.now += 0.001
    assert breaker.state == "half-open"
    generation = breaker.before()
    with pytest.raises(CircuitOpenError, match="too many requests"):
        breaker.before()
    breaker.after(generation, True)
    assert breaker.state == "closed"
    assert set(breaker.counts.values()) == {0}


def test_a_failure_in_half_open_opens_again_for_the_whole_timeout() -> None:
    clock = Clock()
    breaker = make(clock, timeout=10.0, trip="totalFailures > 0")
    call(breaker, False)
    clock.now += 11
    call(breaker, False)
    clock.now += 9
    assert breaker.state == "open"
    clock.now += 2
    assert breaker.state == "half-open"


def test_half_open_needs_max_requests_successes() -> None:
    clock = Clock()
    breaker = make(clock, timeout=1.0, max_requests=3, trip="totalFailures > 0")
    call(breaker, False)
    clock.now += 2
    for state in ("half-open", "half-open", "closed"):
        call(breaker, True)
        assert breaker.state == state


def test_the_result_of_an_older_generation_is_ignored() -> None:
    clock = Clock()
    breaker = make(clock, timeout=1.0)
    late = breaker.before()
    for _ in range(3):
        call(breaker, False)
    clock.now += 2
    assert breaker.state == "half-open"
    breaker.after(late, False)
    assert breaker.state == "half-open"


def test_the_interval_clears_counts() -> None:
    clock = Clock()
    breaker = make(clock, interval=5.0)
    call(breaker, False)
    call(breaker, False)
    clock.now += 5.1
    call(breaker, False)
    assert breaker.counts["consecutiveFailures"] == 1
    assert breaker.state == "closed"


def test_no_interval_never_clears() -> None:
    clock = Clock()
    breaker = make(clock)
    call(breaker, False)
    clock.now += 1e9
    assert breaker.counts["requests"] == 1


def test_changes_are_told() -> None:
    clock, seen = Clock(), []
    policy = BreakerPolicy("cb", timeout=1.0, trip=compile_trip("totalFailures > 0"))
    breaker = CircuitBreaker("n", policy, clock, lambda *change: seen.append(change))
    call(breaker, False)
    clock.now += 2
    call(breaker, True)
    assert seen == [
        ("n", "closed", "open"),
        ("n", "open", "half-open"),
        ("n", "half-open", "closed"),
    ]


def test_the_cache_forgets_the_one_unused_for_longest() -> None:
    clock = Clock()
    cache = BreakerCache(2)
    one = cache.get("1", lambda _: make(clock))
    two = cache.get("2", lambda _: make(clock))
    assert cache.get("1", lambda _: make(clock)) is one
    cache.get("3", lambda _: make(clock))
    assert len(cache) == 2
    assert cache.get("1", lambda _: make(clock)) is one
    assert cache.get("2", lambda _: make(clock)) is not two
