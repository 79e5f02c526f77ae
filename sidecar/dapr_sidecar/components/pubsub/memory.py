"""``pubsub.in-memory``: topics inside one process, shared by all its components of this type.

Every subscription gets every message; nothing is acknowledged or delivered again.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.pubsub.base import (
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)

_LOG = get_logger("dapr.contrib.pubsub.in-memory")
_QUEUE_LIMIT = 100_000
_MAX_RUNNING = 100


class QueueFullError(Exception):
    """A subscriber is too far behind; the publisher is told instead of the memory filling up."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"a subscriber of topic {topic} is {_QUEUE_LIMIT} messages behind")


class _Subscriber:
    """One subscription: a bounded queue and at most so many deliveries at once."""

    def __init__(self, topic: str, handler: MessageHandler) -> None:
        self.topic = topic
        self._handler = handler
        self._queue: deque[Message] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        pattern = ".*".join(re.escape(part) for part in topic.split("*"))
        self._pattern = re.compile(pattern, re.DOTALL) if "*" in topic else None

    def takes(self, topic: str) -> bool:
        """Whether messages of the topic are for this subscription."""
        if self._pattern is None:
            return topic == self.topic
        return self._pattern.fullmatch(topic) is not None

    @property
    def is_full(self) -> bool:
        """Whether it takes no more now."""
        return len(self._queue) >= _QUEUE_LIMIT

    def put(self, message: Message) -> None:
        """Queue a message and make sure that somebody delivers it."""
        self._queue.append(message)
        if len(self._running) < _MAX_RUNNING:
            task = asyncio.get_running_loop().create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        while self._queue and not self._closed:
            message = self._queue.popleft()
            try:
                await self._handler(message)
            except Exception as error:  # noqa: BLE001 - this broker knows no redelivery
                _LOG.error("a message of topic %s is lost: %s", message.topic, error)

    async def close(self) -> None:
        """Drop what is queued, wait for what runs; when cancelled, cancel that too."""
        self._closed = True
        _BUS.pop(self, None)
        self._queue.clear()
        if self._running:
            try:
                await asyncio.wait(self._running)
            except asyncio.CancelledError:
                for task in self._running:
                    task.cancel()
                raise


_BUS: dict[_Subscriber, None] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class InMemorySettings:
    """There is nothing to set."""


class InMemoryPubSub(PubSub):
    """The broker inside the process."""

    settings = InMemorySettings
    features = (Feature.SUBSCRIBE_WILDCARDS,)

    async def publish(self, request: PublishRequest) -> None:
        topic = request.topic
        takers = [subscriber for subscriber in _BUS if subscriber.takes(topic)]
        if any(subscriber.is_full for subscriber in takers):
            raise QueueFullError(topic)
        for subscriber in takers:
            subscriber.put(Message(topic, request.data, request.metadata, request.content_type))

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        subscriber = _Subscriber(topic, handler)
        _BUS[subscriber] = None
        return subscriber
