"""What the app said about an event."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from dapr_sidecar.blocks.pubsub.event import Event


class Verdict(Enum):
    """The end of a delivery; a failure that may be retried is an exception instead."""

    SUCCESS = "success"
    DROP = "drop"
    """Done with, but a dead-letter topic gets it."""

    IGNORED = "ignored"
    """The app does not implement delivery: done with, no dead letter."""


class RetryRequestedError(Exception):
    """The app asked for a retry, or answered something that means one."""

    status = "retry"


class Sender(Protocol):
    """Hands an event to the app (or a stream). Raises for everything that may be retried."""

    async def send(self, event: Event, path: str) -> Verdict: ...
