"""A message bus inside the sidecar: what one application publishes, it can subscribe to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.pubsub.base import (
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)

_MOST_WAITING = 1000


class MyBus(PubSub):
    """Every subscription gets every message of its topic; nothing is kept."""

    def __init__(self, settings: object, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._readers: set[Reader] = set()

    async def publish(self, request: PublishRequest) -> None:
        message = Message(request.topic, request.data, request.metadata, request.content_type)
        for reader in [one for one in self._readers if one.topic == request.topic]:
            await reader.queue.put(message)  # waits while a reader is far behind

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        return Reader(topic, handler, self._readers)


class Reader:
    """One subscription. ``close`` waits for the message that is being handled."""

    def __init__(self, topic: str, handler: MessageHandler, readers: set[Reader]) -> None:
        self.topic = topic
        self.queue: asyncio.Queue[Message | None] = asyncio.Queue(_MOST_WAITING)
        self._handler = handler
        self._readers = readers
        self._is_closed = False
        self._task = asyncio.create_task(self._read())
        readers.add(self)

    async def close(self) -> None:
        self._readers.discard(self)
        self._is_closed = True
        if self.queue.empty():
            self.queue.put_nowait(None)
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        while (message := await self.queue.get()) is not None and not self._is_closed:
            try:
                await self._handler(message)
            except Exception as error:  # noqa: BLE001 - this bus does not deliver again
                print(f"a message of {self.topic} is lost: {error}")
            if self._is_closed:
                return
