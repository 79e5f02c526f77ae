"""Acknowledgements gathered and sent together: one command for many messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.contrib.pubsub")
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
_MOST = 10_000

T = TypeVar("T")


class AckBuffer(Generic[T]):
    """Sends what was added since the last send; tries again when that fails.

    What is never sent is delivered again by the broker, which is what at-least-once means.
    """

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[object]]) -> None:
        self._send = send
        self._items: list[T] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, item: T) -> None:
        """Acknowledge one message soon."""
        self._items.append(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        task = self._task
        if task is None:
            return
        try:
            await asyncio.wait([task], timeout=_CLOSE_SECONDS)
        finally:
            task.cancel()  # also when who closes gives up: it would try again for ever

    async def _run(self) -> None:
        try:
            while self._items:
                batch, self._items = self._items, []
                try:
                    await self._send(batch)
                except Exception as error:  # noqa: BLE001 - any failure means: try again
                    _LOG.warning("%d acknowledgements could not be sent: %s", len(batch), error)
                    # The newest are kept: the broker delivers the others again in any case.
                    self._items = (batch + self._items)[-_MOST:]
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._task = None
