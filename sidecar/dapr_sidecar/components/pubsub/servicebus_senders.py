"""Senders of Azure Service Bus, one for each topic or queue, one call of each at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from dapr_sidecar.components.consuming.calls import within

_CLOSE_SECONDS = 3.0


class Senders:
    """Senders that were made once; one that failed is replaced.

    ``seconds`` bounds each call from its wait for the sender on; ``silent`` says who did not answer
    by then.
    """

    def __init__(
        self, make: Callable[[str], Awaitable[ServiceBusSender]], seconds: float, silent: str
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._silent = silent
        self._senders: dict[str, tuple[ServiceBusSender, asyncio.Lock]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Detach them all; a few seconds at most."""
        senders = [sender for sender, _ in self._senders.values()]
        self._senders.clear()
        await asyncio.gather(*map(close_quietly, senders), *self._closing)

    @asynccontextmanager
    async def turn(self, topic: str) -> AsyncIterator[ServiceBusSender]:
        """The topic's sender, for one call. Waiting for it counts, too: behind a silent service
        each would wait for all before it. Raises ``ConnectionError`` past the deadline.
        """
        async with within(self._seconds, self._silent):
            while True:
                found = await self._sender(topic)
                sender, one_at_a_time = found
                async with one_at_a_time:
                    if self._senders.get(topic) is not found:
                        continue  # it failed whoever was before us
                    try:
                        yield sender
                    except BaseException:
                        # Left in the middle of a call, or by its connection: not used again.
                        self._senders.pop(topic, None)
                        self._discard(sender)
                        raise
                    return

    async def _sender(self, topic: str) -> tuple[ServiceBusSender, asyncio.Lock]:
        if (found := self._senders.get(topic)) is None:
            made = await self._make(topic)
            # Somebody else may have made one meanwhile; ours has no connection yet.
            found = self._senders.setdefault(topic, (made, asyncio.Lock()))
        return found

    def _discard(self, sender: ServiceBusSender) -> None:
        task = asyncio.get_running_loop().create_task(close_quietly(sender))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def close_quietly(closable: ServiceBusSender | ServiceBusClient) -> None:
    """Close within a few seconds, whatever the service does."""
    with contextlib.suppress(Exception):  # the service may be gone
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closable.close()
