"""Readiness: named targets that must all be ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Readiness:
    """Tracks targets in the order they were named; ``wait`` returns once all are ready."""

    def __init__(self, targets: Iterable[str] = ()) -> None:
        self._ready: dict[str, bool] = dict.fromkeys(targets, False)
        self._all = asyncio.Event()
        self._update()

    def add(self, target: str) -> None:
        """Name a target that is not ready yet."""
        self._ready.setdefault(target, False)
        self._update()

    def ready(self, target: str) -> None:
        """Mark a target ready."""
        self._ready[target] = True
        self._update()

    def unready(self, target: str) -> None:
        """Mark a target not ready."""
        self._ready[target] = False
        self._update()

    @property
    def is_ready(self) -> bool:
        """Whether every target is ready."""
        return self._all.is_set()

    def missing(self) -> list[str]:
        """The targets that are not ready."""
        return [name for name, ready in self._ready.items() if not ready]

    async def wait(self) -> None:
        """Wait until every target is ready."""
        await self._all.wait()

    def _update(self) -> None:
        if all(self._ready.values()):
            self._all.set()
        else:
            self._all.clear()
