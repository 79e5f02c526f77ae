"""Single deliveries gathered into batches, for brokers that deliver one message at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from functools import partial

from dapr_sidecar.components.pubsub.base import BulkHandler, BulkMessage, Message


class Batcher:
    """Its ``handle`` is a message handler that returns when the message's batch was handled.

    A batch goes when it is full, or when its first message has waited long enough.
    """

    def __init__(self, handler: BulkHandler, max_messages: int, max_await_seconds: float) -> None:
        self._handler = handler
        self._max_messages = max(max_messages, 1)
        self._max_await_seconds = max_await_seconds
        self._waiting: dict[str, tuple[BulkMessage, asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def handle(self, message: Message) -> None:
        """Raises what the batch handler reported for this message."""
        loop = asyncio.get_running_loop()
        entry = BulkMessage(str(uuid.uuid4()), message)
        done: asyncio.Future[None] = loop.create_future()
        self._waiting[entry.entry_id] = (entry, done)
        if len(self._waiting) >= self._max_messages:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._max_await_seconds, self._flush)
        try:
            await done
        finally:
            self._waiting.pop(entry.entry_id, None)

    async def close(self) -> None:
        """Send what waits, and wait for the batches that run."""
        self._flush()
        while self._running:
            await asyncio.wait(self._running)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            batch = list(self._waiting.values())
            self._waiting.clear()
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            for _, done in batch:
                done.add_done_callback(partial(_given_up, task, batch))

    async def _run(self, batch: Sequence[tuple[BulkMessage, asyncio.Future[None]]]) -> None:
        try:
            failed = await self._handler([entry for entry, _ in batch])
        except asyncio.CancelledError:
            for _, done in batch:
                done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to every message of the batch
            failed = {entry.entry_id: error for entry, _ in batch}
        for entry, done in batch:
            if done.done():
                continue
            if (failure := failed.get(entry.entry_id)) is None:
                done.set_result(None)
            else:
                done.set_exception(failure)


def _given_up(
    task: asyncio.Task[None],
    batch: Sequence[tuple[BulkMessage, asyncio.Future[None]]],
    done: asyncio.Future[None],
) -> None:
    """Stop a batch that nobody waits for any more; its messages come again in another one."""
    if done.cancelled() and all(other.done() for _, other in batch):
        task.cancel()
