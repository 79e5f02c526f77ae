"""What a span exporter is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from dapr_common.observe.tracing import Span

SCOPE = "dapr-diagnostics"
_FIRST_WAIT = 5.0
_LAST_WAIT = 30.0


class ExportError(Exception):
    """Spans were not taken. ``transient``: they may be when they are sent again."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Exporter(Protocol):
    """Sends spans somewhere. Whoever calls it sets the deadline."""

    name: str

    async def export(self, spans: Sequence[Span]) -> None:
        """Send spans. Raises ``ExportError`` or ``OSError``."""

    async def close(self) -> None:
        """Let go of connections."""


async def persist(send: Callable[[], Awaitable[None]]) -> None:
    """Send, again and again while the failure is transient; the caller's deadline ends it."""
    wait = _FIRST_WAIT
    while True:
        try:
            return await send()
        except ExportError as error:
            if not error.transient:
                raise
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret
        wait = min(wait * 1.5, _LAST_WAIT)
