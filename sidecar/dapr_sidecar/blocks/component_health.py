"""How each component fares: asked now and then, and whenever somebody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dapr_common.moments import rfc3339
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

_LOG = get_logger("dapr.runtime.health")
_INTERVAL_SECONDS = 30.0  # clouds bill by the request
_FAILING_INTERVAL_SECONDS = 5.0
_FRESH_SECONDS = 1.0
_PING_SECONDS = 5.0
_PINGS_AT_A_TIME = 8

State = Literal["ready", "failing", "pending"]


@dataclass(frozen=True, slots=True)
class ComponentState:
    """One component: ``failing`` does not answer or could not be loaded, ``pending`` is coming."""

    name: str
    state: State
    since: datetime
    error: str = ""
    """The last error of a failing one."""

    @property
    def since_text(self) -> str:
        """``since`` as the APIs show it."""
        return rfc3339(self.since)


class _Watched:
    """A live component, and what its last ping said."""

    def __init__(self, entry: Loaded[Any]) -> None:
        self.entry = entry
        self.since = datetime.now(UTC)
        self.error = ""
        self.asked_at: float | None = None
        self.asking: asyncio.Task[None] | None = None

    def said(self, name: str) -> ComponentState:
        return ComponentState(name, "failing" if self.error else "ready", self.since, self.error)


class ComponentHealth:
    """Pings live components; those that are not live are as whoever loads them says.

    A component whose protocol has no ping is ready while it is loaded.
    """

    def __init__(self, context: SidecarContext) -> None:
        self._context = context
        self._watched: dict[str, _Watched] = {}
        self._slots = asyncio.Semaphore(_PINGS_AT_A_TIME)
        self.not_live: Callable[[], Iterable[ComponentState]] = tuple
        """Told of components that failed to load or are still to come."""

    async def run(self) -> None:
        """Ask each component now and then, failing ones more often, until cancelled."""
        try:
            while True:
                self._renew()
                now = asyncio.get_running_loop().time()
                await self._ask([name for name, one in self._watched.items() if _is_due(one, now)])
                await asyncio.sleep(_FAILING_INTERVAL_SECONDS)
        finally:
            pings = [one.asking for one in self._watched.values() if one.asking is not None]
            for ping in pings:
                ping.cancel()
            await asyncio.gather(*pings, return_exceptions=True)

    def states(self) -> dict[str, ComponentState]:
        """All components as they were when last asked."""
        self._renew()
        found = {state.name: state for state in self.not_live()}
        return found | {name: one.said(name) for name, one in self._watched.items()}

    async def check(self, name: str = "") -> dict[str, ComponentState]:
        """One component, or all of them, as they are now. An unknown name gives nothing.

        Who asks shares pings with others, and what was said a second ago still holds.
        """
        self._renew()
        wanted = [name] if name else list(self._watched)
        now = asyncio.get_running_loop().time()
        stale = [
            each
            for each in wanted
            if (one := self._watched.get(each)) is not None
            and (one.asked_at is None or now - one.asked_at > _FRESH_SECONDS)
        ]
        await self._ask(stale)
        found = self.states()
        return {each: state for each, state in found.items() if not name or each == name}

    # --- inside -----------------------------------------------------------------------------

    def _renew(self) -> None:
        """A component that was replaced starts anew; one that went is forgotten."""
        live = self._context.components.every()
        for name in self._watched.keys() - live.keys():
            gone = self._watched.pop(name)
            self._context.metrics.component_gone(name, gone.entry.manifest.type)
        for name, entry in live.items():
            one = self._watched.get(name)
            if one is None or one.entry.component is not entry.component:
                self._watched[name] = _Watched(entry)

    async def _ask(self, names: Iterable[str]) -> None:
        tasks: list[asyncio.Task[None]] = []
        for name in names:
            one = self._watched[name]
            if one.asking is None:
                one.asking = asyncio.create_task(self._ping(name, one), name=f"ping {name}")
            tasks.append(one.asking)
        if tasks:
            await asyncio.wait(tasks)

    async def _ping(self, name: str, one: _Watched) -> None:
        try:
            async with self._slots:
                error = await _error_of(one.entry.component)
        finally:
            one.asking = None
        one.asked_at = asyncio.get_running_loop().time()
        if self._watched.get(name) is not one:
            return  # it was replaced meanwhile
        if bool(error) != bool(one.error):
            one.since = datetime.now(UTC)
            if error:
                _LOG.warning("Component %s is failing: %s", one.entry.manifest.log_name, error)
            else:
                _LOG.info("Component %s is ready again", one.entry.manifest.log_name)
        one.error = error
        self._context.metrics.component_ready(name, one.entry.manifest.type, not error)


def _is_due(one: _Watched, now: float) -> bool:
    return one.asked_at is None or bool(one.error) or now - one.asked_at >= _INTERVAL_SECONDS


async def _error_of(component: Component) -> str:
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await component.ping()
    except TimeoutError:
        return f"it does not answer within {_PING_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a component does, it is not ready
        return str(error) or type(error).__name__
    return ""


def failing(states: Mapping[str, ComponentState]) -> list[ComponentState]:
    """Those that are not ready."""
    return [state for state in states.values() if state.state != "ready"]
