"""Circuit breakers: closed, open, half-open; a count of what happened in each generation."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from dapr_common.resiliency.policies import BreakerPolicy
from dapr_sidecar.resiliency.base import CircuitOpenError

State = Literal["closed", "half-open", "open"]
Clock = Callable[[], float]
OnChange = Callable[[str, State, State], None]


class CircuitBreaker:
    """One breaker. Call ``before``, make the call, then ``after`` with the generation it gave."""

    __slots__ = (
        "_clock",
        "_consecutive_failures",
        "_consecutive_successes",
        "_expiry",
        "_generation",
        "_on_change",
        "_policy",
        "_requests",
        "_state",
        "_total_failures",
        "_total_successes",
        "name",
    )

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        clock: Clock = time.monotonic,
        on_change: OnChange | None = None,
    ) -> None:
        self.name = name
        self._policy = policy
        self._clock = clock
        self._on_change = on_change
        self._state: State = "closed"
        self._generation = 0
        self._expiry: float | None = None
        self._requests = self._total_successes = self._total_failures = 0
        self._consecutive_successes = 0
        self._consecutive_failures = 0
        self._new_generation(clock())

    @property
    def state(self) -> State:
        """The state now; looking is what lets an open breaker become half-open."""
        self._advance()
        return self._state

    @property
    def counts(self) -> dict[str, int]:
        """What happened in this generation, by the names ``trip`` uses."""
        return {
            "requests": self._requests,
            "totalSuccesses": self._total_successes,
            "totalFailures": self._total_failures,
            "consecutiveSuccesses": self._consecutive_successes,
            "consecutiveFailures": self._consecutive_failures,
        }

    def before(self) -> int:
        """Admit a call. Raises ``CircuitOpenError``."""
        self._advance()
        if self._state == "open":
            raise CircuitOpenError
        if self._state == "half-open" and self._requests >= self._policy.max_requests:
            raise CircuitOpenError("too many requests")
        self._requests += 1
        return self._generation

    def after(self, generation: int, success: bool) -> None:
        """Count the outcome, unless the breaker has moved on since ``before``."""
        now = self._advance()
        if generation != self._generation:
            return
        if success:
            self._succeeded(now)
        else:
            self._failed(now)

    def _succeeded(self, now: float) -> None:
        self._total_successes += 1
        self._consecutive_successes += 1
        self._consecutive_failures = 0
        if self._state == "half-open" and self._consecutive_successes >= self._policy.max_requests:
            self._change("closed", now)

    def _failed(self, now: float) -> None:
        if self._state == "half-open":
            self._change("open", now)
            return
        self._total_failures += 1
        self._consecutive_failures += 1
        self._consecutive_successes = 0
        if self._policy.trip(self.counts):
            self._change("open", now)

    def _advance(self) -> float:
        now = self._clock()
        if self._expiry is not None and self._expiry < now:
            if self._state == "closed":
                self._new_generation(now)
            else:
                self._change("half-open", now)
        return now

    def _change(self, state: State, now: float) -> None:
        previous, self._state = self._state, state
        self._new_generation(now)
        if self._on_change is not None:
            self._on_change(self.name, previous, state)

    def _new_generation(self, now: float) -> None:
        self._generation += 1
        self._requests = self._total_successes = self._total_failures = 0
        self._consecutive_successes = self._consecutive_failures = 0
        if self._state == "open":
            self._expiry = now + self._policy.timeout
        elif self._state == "closed" and self._policy.interval > 0:
            self._expiry = now + self._policy.interval
        else:
            self._expiry = None


class BreakerCache:
    """Breakers by key; past ``size`` the one unused for longest is forgotten."""

    __slots__ = ("_breakers", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._breakers)

    def get(self, key: str, make: Callable[[str], CircuitBreaker]) -> CircuitBreaker:
        """The breaker of a key, made when it is not there."""
        found = self._breakers.get(key)
        if found is not None:
            self._breakers.move_to_end(key)
            return found
        made = self._breakers[key] = make(key)
        if len(self._breakers) > self.size:
            self._breakers.popitem(last=False)
        return made
