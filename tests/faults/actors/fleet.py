"""Hosts of one actor type, and a client that keeps calling their actors."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from harness.app import AppProcess
from harness.programs import free_port
from harness.sidecar import Manifest, Sidecar

TYPE = "Counter"
_APP = Path(__file__).with_name("counting_app.py")


class Host:
    """One replica of an application with actors, and its sidecar."""

    def __init__(
        self,
        app_id: str,
        placement: str,
        resources: Sequence[Manifest],
        *,
        delay: float = 0.0,
        flags: Sequence[str] = (),
    ) -> None:
        app_port = free_port()
        self.sidecar = Sidecar(
            app_id,
            resources=resources,
            app_port=app_port,
            flags=[f"--placement-host-address={placement}", *flags],
            exit_code=None,
        )
        self.app = AppProcess(
            [sys.executable, str(_APP)],
            env={"DAPR_HTTP_PORT": str(self.sidecar.http_port), "APP_DELAY": str(delay)},
            port=app_port,
            name="actor app",
        )

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(self.app)
        await self._stack.enter_async_context(self.sidecar)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def remind(self, actor: str, name: str, **times: str) -> None:
        """Set a reminder through this host."""
        await self._set("reminders", actor, name, times)

    async def start_timer(self, actor: str, name: str, **times: str) -> None:
        """Set a timer that runs on this host."""
        await self._set("timers", actor, name, {**times, "callback": "tick"})

    async def _set(self, what: str, actor: str, name: str, body: dict[str, str]) -> None:
        url = f"{self.sidecar.http_url}/v1.0/actors/{TYPE}/{actor}/{what}/{name}"
        async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
            if answer.status != 204:
                raise CallFailedError(f"{answer.status} {await answer.text()}")

    def kill(self) -> None:
        """End both at once, as a machine that loses its power does."""
        self.sidecar.signal(signal.SIGKILL)
        self.app.signal(signal.SIGKILL)

    def reports(self, key: str) -> list[dict[str, Any]]:
        """What its app reported with this key."""
        return [one for one in self.app.reports() if key in one]


@dataclass
class Client:
    """Calls actors through a sidecar of its own until told to stop."""

    sidecar: Sidecar
    actors: Sequence[str]
    acknowledged: Counter[str] = field(default_factory=Counter)
    attempted: Counter[str] = field(default_factory=Counter)
    succeeded_at: dict[str, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    _stopping: bool = False

    async def run(self, callers: int = 8) -> None:
        """Call at random, each caller one call at a time; a failed call is made no more."""
        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(self._keep_calling(http) for _ in range(callers)))

    def stop(self) -> None:
        self._stopping = True

    @property
    def count(self) -> int:
        """How many calls were acknowledged."""
        return sum(self.acknowledged.values())

    def moments(self) -> list[float]:
        """When calls succeeded, in order."""
        return sorted(moment for each in self.succeeded_at.values() for moment in each)

    async def call_each(self, method: str, callers: int = 16) -> dict[str, int]:
        """Call every actor until it answers; what each answered."""
        found: dict[str, int] = {}
        waiting = iter(self.actors)

        async def work(http: aiohttp.ClientSession) -> None:
            for name in waiting:
                while name not in found:
                    try:
                        found[name] = await self._call(http, name, method)
                    except CallFailedError as error:  # a drained call, for instance
                        self.failures[str(error)[:120]] += 1

        async with aiohttp.ClientSession() as http:
            await asyncio.gather(*(work(http) for _ in range(callers)))
        return found

    async def _keep_calling(self, http: aiohttp.ClientSession) -> None:
        while not self._stopping:
            name = random.choice(self.actors)
            self.attempted[name] += 1
            try:
                await self._call(http, name, "bump")
            except (CallFailedError, aiohttp.ClientError, TimeoutError) as error:
                self.failures[str(error)[:120]] += 1
                continue
            self.acknowledged[name] += 1
            self.succeeded_at.setdefault(name, []).append(time.time())

    async def _call(self, http: aiohttp.ClientSession, name: str, method: str) -> int:
        url = f"{self.sidecar.http_url}/v1.0/actors/{TYPE}/{name}/method/{method}"
        async with http.put(url, timeout=aiohttp.ClientTimeout(total=60)) as answer:
            if answer.status != 200:
                raise CallFailedError(f"{answer.status} {await answer.text()}")
            return int((await answer.json())["count"])


class CallFailedError(Exception):
    """An actor call did not succeed."""
