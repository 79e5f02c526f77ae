"""``--app-max-concurrency``: a gate around every call into the app; it waits and never refuses."""

from __future__ import annotations

import asyncio


class ConcurrencyGate:
    """Slots for calls; ``limit=0`` is no limit and costs nothing."""

    def __init__(self, limit: int) -> None:
        self._slots = asyncio.Semaphore(limit) if limit > 0 else None

    @property
    def limited(self) -> bool:
        """Whether callers may have to wait."""
        return self._slots is not None

    async def enter(self) -> None:
        """Wait for a slot."""
        if self._slots is not None:
            await self._slots.acquire()

    def leave(self) -> None:
        """Give a slot back."""
        if self._slots is not None:
            self._slots.release()
