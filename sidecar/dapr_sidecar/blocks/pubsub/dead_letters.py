"""Where messages go that the app will not have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from dapr_sidecar.components.pubsub.base import Message

_SECONDS = 30.0

PublishStored = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[None]]


class UndeliveredError(Exception):
    """A message could not be delivered now; the broker keeps it."""


class DeadLetters:
    """The dead-letter topic of one subscription; false when it has none."""

    def __init__(self, publish: PublishStored, pubsub: str, topic: str) -> None:
        self._publish = publish
        self._pubsub = pubsub
        self._topic = topic

    def __bool__(self) -> bool:
        return bool(self._topic)

    async def put(self, message: Message) -> None:
        """Publish the original bytes and metadata. Raises ``UndeliveredError``."""
        metadata = {**(message.metadata or {}), "pubsubName": self._pubsub}
        try:
            async with asyncio.timeout(_SECONDS):
                await self._publish(self._pubsub, self._topic, message.data, metadata)
        except Exception as error:
            raise UndeliveredError(
                f"cannot publish to dead letter topic {self._topic}: {error}"
            ) from error
