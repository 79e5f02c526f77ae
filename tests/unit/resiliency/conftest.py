"""Virtual time: a wait passes at once, and the clock says that it has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from harness.virtual_time import VirtualLoop

from dapr_common.kube.resources import Resiliency
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.resiliency.runner import Surroundings


class World:
    """A virtual loop, what was reported, and policies that live in both."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.waits: list[float] = []
        self.events: list[tuple[str, ...]] = []
        self.unit = 0.5
        self.units: Iterator[float] = iter(())  # before ``unit``, one for each that is asked for

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        await asyncio.sleep(seconds)

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.loop.time, self.sleep, lambda: next(self.units, self.unit), self)

    def policies(self, *specs: dict[str, Any], app_id: str = "me") -> LoadedPolicies:
        resources = [Resiliency(f"r{i}", spec) for i, spec in enumerate(specs)]
        return LoadedPolicies(resources, app_id, around=self.around)

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(main)

    def advance(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    # Implements ``Report``.
    def loaded(self, name: str, namespace: str) -> None:
        self.events.append(("loaded", name, namespace))

    def executed(self, policy: str, flow: str, target: str, status: str = "") -> None:
        self.events.append(("executed", policy, flow, target, status))

    def activated(self, policy: str, flow: str, target: str, status: str = "") -> None:
        self.events.append(("activated", policy, flow, target, status))

    def breaker_state(self, flow: str, target: str, status: str) -> None:
        self.events.append(("state", flow, target, status))


class Script:
    """An operation that raises or returns what it is told, then the last of it for ever."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    async def __call__(self) -> object:
        outcome = self.outcomes[min(self.calls, len(self.outcomes) - 1)]
        self.calls += 1
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
        return outcome


@pytest.fixture
def world() -> Any:
    made = World()
    yield made
    made.loop.close()


@pytest.fixture
def script() -> Callable[..., Script]:
    return Script
