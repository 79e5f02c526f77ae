"""Addresses kept in the sidecar, fresh by blocking queries on the states of checks."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from dapr_common.grpc.backoff import Backoff
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.nameresolution.consul.agent import Agent
from dapr_sidecar.components.nameresolution.consul.settings import QueryOptions

_LOG = get_logger("dapr.contrib")
_MOST = 500  # services watched at once; the agent is asked for any other, call by call
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 180.0
_PACE_SECONDS = 1.0
_WAIT = timedelta(minutes=5)

Signature = frozenset[tuple[object, ...]]


class ServiceCache:
    """Watches every service that was asked for and found, as long as it has healthy instances.

    ``read`` returns the addresses of a service's healthy instances or raises ``LookupError``.
    """

    def __init__(
        self,
        agent: Agent,
        options: QueryOptions,
        read: Callable[[str], Awaitable[list[str]]],
    ) -> None:
        self._agent = agent
        # The agent's own cache does not serve these queries, and a filter is for services.
        self._options = replace(
            options, use_cache=False, near="", wait_hash="", wait_time=options.wait_time or _WAIT
        )
        self._read = read
        self._watched: dict[str, Signature] = {}
        self._addresses: dict[str, list[str]] = {}
        self._blocking: asyncio.Timeout | None = None
        self._restart = False
        self._task: asyncio.Task[None] | None = None

    def pick(self, service: str) -> str | None:
        """One of the known addresses."""
        known = self._addresses.get(service)
        return random.choice(known) if known else None  # noqa: S311 - spreads load

    def watch(self, service: str) -> None:
        """Know the addresses of this service from soon on."""
        if service not in self._watched and len(self._watched) < _MOST:
            self._watched[service] = frozenset()
            self._begin_again()

    def forget(self, service: str) -> None:
        """An address of this service failed: have it read again."""
        if self._addresses.pop(service, None) is not None:
            self._begin_again()

    async def close(self) -> None:
        """Stop watching."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._watched.clear()
        self._addresses.clear()

    # --- watching ---------------------------------------------------------------------------

    def _begin_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._restart = True
        blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking.reschedule(loop.time())
        elif self._task is None or self._task.done():
            self._task = loop.create_task(self._run())

    async def _run(self) -> None:
        """Until nothing is left to watch."""
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, factor=2.0, jitter=0.0)
        while self._watched:
            try:
                await self._follow(backoff.reset)
            except Exception as error:  # noqa: BLE001 - whatever it is, watching goes on
                # Addresses nobody keeps fresh are worse than asking the agent for each call.
                self._addresses.clear()
                pause = backoff.next()
                _LOG.warning("consul: services are not watched for %g s: %s", pause, error)
                await asyncio.sleep(pause)

    async def _follow(self, succeeded: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        index = 0
        while self._watched:
            started = loop.time()
            if self._restart:
                self._restart, index = False, 0
            names = list(self._watched)
            found = await self._states(names, index)
            if found is not None:
                states, newer = found
                index = newer if newer >= index else 0  # backwards: the agent's store is another
                await self._update(names, signatures(states))
                succeeded()
            # However restless the catalogue is, it is read once a second.
            await asyncio.sleep(max(0.0, started + _PACE_SECONDS - loop.time()))

    async def _states(self, names: Iterable[str], index: int) -> tuple[list[Any], int] | None:
        """The checks of these services once they are past the index; ``None``: begin again."""
        options = replace(self._options, filter=service_filter(names), wait_index=index)
        try:
            async with asyncio.timeout(None) as self._blocking:
                return await self._agent.check_states(options)
        except TimeoutError:
            return None
        finally:
            self._blocking = None

    async def _update(self, names: Iterable[str], found: Mapping[str, Signature]) -> None:
        for name in names:
            signature = found.get(name, frozenset())
            # A service without checks has no states: only reading it tells.
            if signature and signature == self._watched[name] and name in self._addresses:
                continue
            try:
                self._addresses[name] = await self._read(name)
                self._watched[name] = signature
            except LookupError:
                self._addresses.pop(name, None)
                del self._watched[name]


def service_filter(names: Iterable[str]) -> str:
    """The filter expression that selects the checks of these services."""
    return " or ".join(f"ServiceName=={json.dumps(name)}" for name in names)


def signatures(states: Iterable[Mapping[str, Any]]) -> dict[str, Signature]:
    """What tells whether anything about a service's checks changed."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for state in states:
        marks = ("Node", "ServiceID", "CheckID", "Status", "ModifyIndex")
        found.setdefault(state["ServiceName"], set()).add(tuple(map(state.get, marks)))
    return {name: frozenset(marks) for name, marks in found.items()}
