"""Callees that fail in patterns, and what a policy must make of them, worked out by itself.

Times are seconds of the test's virtual clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unit.resiliency.plain_breaker import PlainBreaker

TIMED_OUT = "context deadline exceeded"
FAILED = "it failed"
Attempt = tuple[float, float, bool]
"""When it begins, how long it takes, whether it goes well."""

Pattern = Callable[[int, float], tuple[float, bool]]
"""From the number of an attempt and its moment to how long it takes and whether it goes well."""


def down(start: float, end: float) -> Pattern:
    """Fails at once within a stretch of time."""
    return lambda _, now: (0.0, not start <= now < end)


def seeded(seed: int, share: float = 0.5, longest: float = 0.0) -> Pattern:
    """A share of the calls fails, by a sequence that only the seed decides."""
    chance = random.Random(seed)
    drawn: list[tuple[float, bool]] = []

    def pattern(number: int, _: float) -> tuple[float, bool]:
        while len(drawn) <= number:
            seconds = round(chance.uniform(0, longest), 3)
            drawn.append((seconds, chance.random() >= share))
        return drawn[number]

    return pattern


def slow(seconds: float, until: float) -> Pattern:
    """Goes well, but takes its time until a moment."""
    return lambda _, now: (seconds if now < until else 0.0, True)


class Callee:
    """Behaves by a pattern and writes down every attempt that reaches it."""

    def __init__(self, pattern: Pattern, clock: Callable[[], float]) -> None:
        self._pattern = pattern
        self._clock = clock
        self.attempts: list[float] = []

    async def __call__(self) -> str:
        now = self._clock()
        number = len(self.attempts)
        self.attempts.append(round(now, 6))
        seconds, well = self._pattern(number, now)
        await asyncio.sleep(seconds)
        if not well:
            raise OSError(FAILED)
        return "fine"


@dataclass
class Expected:
    """What the contract says of a policy: attempts by their moments, and each call's end."""

    pattern: Pattern
    waits: Callable[[], Iterator[float]] = lambda: iter(())
    """The waits of one call's retries, in turn; it ends when they do."""

    timeout: float | None = None
    breaker: PlainBreaker | None = None

    def calls(self, gaps: Sequence[float]) -> tuple[list[float], list[tuple[float, str]]]:
        """Calls one after the other, each after a gap: attempts, and ends with what came out."""
        now, attempts, ends = 0.0, list[float](), list[tuple[float, str]]()
        for gap in gaps:
            now += gap
            waits = self.waits()
            while True:
                now, outcome = self._attempt(now, attempts)
                refused = outcome not in ("fine", FAILED, TIMED_OUT)
                wait = None if outcome == "fine" or refused else next(waits, None)
                if wait is None:
                    break
                now += wait
            ends.append((round(now, 6), outcome))
        return attempts, ends

    def _attempt(self, now: float, attempts: list[float]) -> tuple[float, str]:
        breaker = self.breaker
        admitted = 0 if breaker is None else breaker.ask(now)
        if isinstance(admitted, str):
            return now, admitted
        seconds, well = self.pattern(len(attempts), now)
        attempts.append(round(now, 6))
        outcome = "fine" if well else FAILED
        if self.timeout is not None and seconds > self.timeout:
            seconds, outcome = self.timeout, TIMED_OUT
        now += seconds
        if breaker is not None:
            breaker.told(admitted, outcome == "fine", now)
        return now, outcome


def observed(
    world: Any, runner: Callable[[], Any], pattern: Pattern, gaps: Sequence[float]
) -> tuple[list[float], list[tuple[float, str]]]:
    """The same of the real policies, a runner looked up for each call as blocks do it."""
    callee = Callee(pattern, world.loop.time)
    ends: list[tuple[float, str]] = []

    async def main() -> None:
        for gap in gaps:
            await asyncio.sleep(gap)
            try:
                outcome = await runner().run(callee)
            except Exception as error:  # noqa: BLE001 - whatever comes out is what is compared
                outcome = str(error)
            ends.append((round(world.loop.time(), 6), outcome))

    world.run(main())
    return callee.attempts, ends
