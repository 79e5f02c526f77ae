"""Entries of a Redis stream that a consumer holds, and how many it may hold for how long."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson

_LONGEST_RETRY = 60.0


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """Settings of a consumer, in seconds."""

    queue_depth: int
    processing_timeout: float
    redeliver_interval: float
    block: float

    @classmethod
    def of(
        cls,
        queue_depth: int,
        processing_timeout: timedelta,
        redeliver_interval: timedelta,
        read_timeout: timedelta,
    ) -> ConsumerLimits:
        """From the component's settings."""
        block = read_timeout.total_seconds()
        return cls(
            max(queue_depth, 1),
            max(processing_timeout.total_seconds(), 0.0),
            max(redeliver_interval.total_seconds(), 0.0),
            block if block > 0 else 3.0,
        )

    def at_least(self, queue_depth: int) -> ConsumerLimits:
        """The same with room for more messages."""
        return dataclasses.replace(self, queue_depth=max(self.queue_depth, queue_depth))

    @property
    def reclaims(self) -> bool:
        """Whether abandoned messages are looked for."""
        return self.processing_timeout > 0 and self.redeliver_interval > 0

    @property
    def longest_retry(self) -> float:
        """The longest pause before a failed message is tried again."""
        return min(self.processing_timeout or _LONGEST_RETRY, _LONGEST_RETRY)


class Entry:
    """One entry of the stream that this process holds."""

    __slots__ = ("attempts", "data", "failed", "id", "metadata", "since", "timer")

    def __init__(
        self, entry_id: bytes, fields: Sequence[bytes], attempts: int, since: float
    ) -> None:
        self.id = entry_id
        self.data = b""
        self.metadata: Mapping[str, str] | None = None
        self.attempts = attempts
        self.since = since
        self.timer: asyncio.TimerHandle | None = None
        self.failed = False
        """Whether the app has failed it, and not taken it since."""
        for at in range(0, len(fields), 2):
            if fields[at] == b"data":
                self.data = fields[at + 1]
            elif fields[at] == b"metadata":
                self.metadata = _metadata(fields[at + 1])


def _metadata(text: bytes) -> Mapping[str, str] | None:
    if text == b"{}":
        return {}
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}
