"""How long actors may take while their sidecar stops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

_MOST_LEAVE_SECONDS, _MOST_CLOSE_SECONDS = 3.0, 2.0
_LEAVE_SHARE, _CLOSE_SHARE = 0.45, 0.25


@dataclass(frozen=True, slots=True)
class StopTimes:
    """Seconds: actors have ``leave`` to end what they do, then ``close`` is for all the rest.

    5 s together, as in Dapr, or less where the whole sidecar has not much more than that to stop.
    """

    leave: float
    close: float

    @classmethod
    def of(cls, grace: float | None) -> StopTimes:
        """Out of the sidecar's time in seconds; ``None`` is without end."""
        if grace is None:
            return cls(_MOST_LEAVE_SECONDS, _MOST_CLOSE_SECONDS)
        return cls(
            min(_MOST_LEAVE_SECONDS, _LEAVE_SHARE * grace),
            min(_MOST_CLOSE_SECONDS, _CLOSE_SHARE * grace),
        )


async def ended(task: asyncio.Task[Any], seconds: float) -> None:
    """End a task that may tidy up for so long; then that is cut short as well."""
    task.cancel()
    _, late = await asyncio.wait([task], timeout=seconds)
    if late:
        task.cancel()
        await asyncio.wait(late)
