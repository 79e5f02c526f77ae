"""``bindings.cron``: an event without data whenever a schedule is due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import Event, EventHandler, InputBinding
from dapr_sidecar.components.bindings.schedule import Schedule, parse_schedule
from dapr_sidecar.components.metadata import SettingsError, setting

_LOG = get_logger("dapr.contrib.bindings.cron")
_SECOND = 1_000_000_000
_LONGEST_SLEEP = 30.0  # so that a clock that was set is noticed
_MOST_RUNS = 1000
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSettings:
    """Settings of ``bindings.cron``."""

    schedule: str = setting("schedule", help="cron fields, with or without seconds, or @every 5s")


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and how to wait for it; tests bring their own."""

    now_ns: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class CronBinding(InputBinding):
    """Runs may overlap; what the app answers does not matter; missed times are not made up."""

    settings: ClassVar[type[Any]] = CronSettings

    def __init__(
        self, settings: CronSettings, context: ComponentContext, clock: Clock | None = None
    ) -> None:
        super().__init__(settings, context)
        self._text = settings.schedule
        self._clock = clock or Clock()
        self._schedule: Schedule | None = None
        self._task: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        try:
            self._schedule = parse_schedule(self._text)
        except ValueError as error:
            raise SettingsError(f"invalid schedule format '{self._text}': {error}") from error

    async def start(self, handler: EventHandler) -> None:
        if self._task is None:
            self._task = asyncio.create_task(
                self._follow(handler), name=f"cron {self._context.name}"
            )

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._runs:
            _, late = await asyncio.wait(self._runs, timeout=_STOP_SECONDS)
            for run in late:
                run.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()

    async def _follow(self, handler: EventHandler) -> None:
        assert self._schedule is not None
        last = self._clock.now_ns() // _SECOND
        while True:
            due = self._schedule.next(last)
            if due is None:
                _LOG.warning("schedule '%s' of %s never comes", self._text, self._context.name)
                return
            await self._until(due)
            self._fire(handler)
            # The next time counts from the one that was due: no drift. Late ones are left out.
            last = max(due, self._clock.now_ns() // _SECOND)

    async def _until(self, due: int) -> None:
        while (wait := due * _SECOND - self._clock.now_ns()) > 0:
            await self._clock.sleep(min(wait / _SECOND, _LONGEST_SLEEP))

    def _fire(self, handler: EventHandler) -> None:
        if len(self._runs) >= _MOST_RUNS:
            _LOG.warning(
                "%s: %d runs have not ended, one is left out", self._context.name, _MOST_RUNS
            )
            return
        metadata = {"readTimeUTC": _go_time(self._clock.now_ns()), "timeZone": "Local"}
        run = asyncio.create_task(self._run(handler, Event(b"", metadata)))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def _run(self, handler: EventHandler, event: Event) -> None:
        try:
            await handler(event)
        except Exception as error:  # noqa: BLE001 - the next time comes anyway
            _LOG.debug("%s: error from the app: %s", self._context.name, error)


def _go_time(nanoseconds: int) -> str:
    """A UTC time as Go prints it: fractions without trailing zeros."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"
