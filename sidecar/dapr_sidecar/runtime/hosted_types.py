"""Actor types come and go with their app: placement is told, and actors that leave are let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dapr_sidecar.blocks.actors.ownership import PlacementView


class HostedTypes:
    """Owns the tasks that let go of types the app hosts no more, and take up those it hosts again.

    ``report`` has placement told what is hosted now.
    """

    def __init__(self, view: PlacementView, report: Callable[[], None]) -> None:
        self._view = view
        self._report = report
        self._changes: set[asyncio.Task[None]] = set()

    def changed(self, before: frozenset[str], after: frozenset[str]) -> None:
        """The app hosts others than before."""
        gone = self._view.host(after)
        self._report()
        if gone:
            self._begin(self._withdraw(gone))
        if new := after - before:
            self._begin(self._resume(new, frozenset(self._changes)))

    async def settle(self, seconds: float | None = None) -> None:
        """Wait until what was withdrawn has left, for so long; it goes on leaving after that."""
        if self._changes:
            await asyncio.wait(set(self._changes), timeout=seconds)

    async def close(self) -> None:
        """Give up what has not left by now."""
        late = set(self._changes)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _begin(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(change, name="hosted-actors")
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    async def _withdraw(self, types: frozenset[str]) -> None:
        try:
            await self._view.leaving(types)
        finally:
            self._view.withdrawn(types)

    async def _resume(self, types: frozenset[str], earlier: frozenset[asyncio.Task[None]]) -> None:
        """Placement may not have noticed that these were away, and then it says nothing."""
        if earlier:
            await asyncio.wait(earlier)
        if types := self._view.resumed(types):
            self._view.settled(types)
