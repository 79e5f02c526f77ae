"""A circuit breaker as its contract puts it, in the plainest words: what tests compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Counts = dict[str, int]


@dataclass
class PlainBreaker:
    """Keeps what happened in this generation as a list; times in seconds of the test's clock."""

    trips: Callable[[Counts], bool]
    max_requests: int = 1
    interval: float = 0.0
    timeout: float = 60.0
    state: str = "closed"
    generation: int = 0
    since: float = 0.0
    admitted: int = 0
    outcomes: list[bool] = field(default_factory=list)
    changes: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> Counts:
        """The five numbers of this generation."""
        return {
            "requests": self.admitted,
            "totalSuccesses": self.outcomes.count(True),
            "totalFailures": self.outcomes.count(False),
            "consecutiveSuccesses": _run_of(True, self.outcomes),
            "consecutiveFailures": _run_of(False, self.outcomes),
        }

    def look(self, now: float) -> str:
        """The state, after what only time brings."""
        age = now - self.since
        if self.state == "open" and age > self.timeout:
            self._become("half-open", now)
        elif self.state == "closed" and self.interval and age > self.interval:
            self._begin(now)
        return self.state

    def ask(self, now: float) -> int | str:
        """May a call be made? Its generation, or why not."""
        if self.look(now) == "open":
            return "circuit breaker is open"
        if self.state == "half-open" and self.admitted >= self.max_requests:
            return "too many requests"
        self.admitted += 1
        return self.generation

    def told(self, generation: int, success: bool, now: float) -> None:
        """A call that was admitted is over."""
        self.look(now)
        if generation != self.generation:
            return
        self.outcomes.append(success)
        if self.state == "half-open":
            if not success:
                self._become("open", now)
            elif self.outcomes == [True] * self.max_requests:
                self._become("closed", now)
        elif not success and self.trips(self.counts()):
            self._become("open", now)

    def _become(self, state: str, now: float) -> None:
        self.changes.append((self.state, state))
        self.state = state
        self._begin(now)

    def _begin(self, now: float) -> None:
        self.generation += 1
        self.since = now
        self.admitted = 0
        self.outcomes = []


def _run_of(what: bool, outcomes: list[bool]) -> int:
    length = 0
    for outcome in reversed(outcomes):
        if outcome is not what:
            break
        length += 1
    return length
