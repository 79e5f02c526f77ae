"""The circuit breaker against the plain one: any calls, any order of their ends, any times."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.resiliency.plain_breaker import Counts, PlainBreaker

from dapr_common.resiliency.policies import BreakerPolicy
from dapr_common.resiliency.trip import compile_trip
from dapr_sidecar.resiliency.base import CircuitOpenError
from dapr_sidecar.resiliency.breaker import CircuitBreaker

TRIPS: dict[str, Callable[[Counts], bool]] = {
    "consecutiveFailures > 5": lambda c: c["consecutiveFailures"] > 5,
    "consecutiveFailures >= 2": lambda c: c["consecutiveFailures"] >= 2,
    "totalFailures > 2": lambda c: c["totalFailures"] > 2,
    "requests >= 4 && totalFailures * 2 >= requests": lambda c: (
        c["requests"] >= 4 and c["totalFailures"] * 2 >= c["requests"]
    ),
    "totalFailures > totalSuccesses + 1": lambda c: c["totalFailures"] > c["totalSuccesses"] + 1,
    "consecutiveSuccesses == 0 && totalSuccesses > 0": lambda c: (
        c["consecutiveSuccesses"] == 0 and c["totalSuccesses"] > 0
    ),
    "false": lambda _: False,
    "1 / (requests - requests) > 0": lambda _: False,  # an evaluation that fails
}
MOMENTS = st.sampled_from([0, 1, 2, 4, 5, 6, 10, 11, 29, 30, 31])


class BreakerMachine(RuleBasedStateMachine):
    """Both get the same; neither is looked at but by a rule, since looking changes things."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.pending: list[tuple[int, int]] = []
        self.changes: list[tuple[str, str]] = []

    @initialize(
        trip=st.sampled_from(sorted(TRIPS)),
        max_requests=st.integers(1, 4),
        interval=st.sampled_from([0, 5, 30]),
        timeout=st.sampled_from([1, 5, 10]),
    )
    def begin(self, trip: str, max_requests: int, interval: int, timeout: int) -> None:
        policy = BreakerPolicy("c", max_requests, interval, timeout, compile_trip(trip))
        self.plain = PlainBreaker(TRIPS[trip], max_requests, interval, timeout)
        self.real = CircuitBreaker(
            "c",
            policy,
            lambda: float(self.now),
            lambda _, old, new: self.changes.append((old, new)),
        )

    @rule(seconds=MOMENTS)
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def look(self) -> None:
        assert self.real.state == self.plain.look(self.now)

    @precondition(lambda self: len(self.pending) < 8)
    @rule()
    def begin_a_call(self) -> None:
        expected = self.plain.ask(self.now)
        found: int | str
        try:
            found = self.real.before()
        except CircuitOpenError as error:
            found = str(error)
        if isinstance(expected, str):
            assert found == expected
        else:
            assert isinstance(found, int), found
            self.pending.append((found, expected))

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), success=st.booleans())
    def end_a_call(self, data: st.DataObject, success: bool) -> None:
        which = data.draw(st.integers(0, len(self.pending) - 1))
        real, plain = self.pending.pop(which)
        self.real.after(real, success)
        self.plain.told(plain, success, self.now)

    @rule(outcomes=st.lists(st.booleans(), min_size=1, max_size=8))
    def calls_one_after_the_other(self, outcomes: list[bool]) -> None:
        for success in outcomes:
            known = len(self.pending)
            self.begin_a_call()
            if len(self.pending) > known:
                real, plain = self.pending.pop()
                self.real.after(real, success)
                self.plain.told(plain, success, self.now)

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "real"):
            assert self.real.counts == self.plain.counts()
            assert self.changes == self.plain.changes


# Without shrinking: it may take longer than the run lets a test go on.
BreakerMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestBreaker = BreakerMachine.TestCase
