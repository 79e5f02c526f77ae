"""Message brokers: publish, subscribe with a handler, optional native bulk."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol, runtime_checkable

from dapr_sidecar.components.base import Component


class Feature(Enum):
    """What a broker reports in the metadata API."""

    MESSAGE_TTL = "MESSAGE_TTL"
    SUBSCRIBE_WILDCARDS = "SUBSCRIBE_WILDCARDS"
    BULK_PUBSUB = "BULK_PUBSUB"


_TTL = "ttlinseconds"
_MAX_TTL_DIGITS = 18


def ttl_seconds(metadata: Mapping[str, str] | None) -> int | None:
    """``ttlInSeconds`` of a request, or ``None`` when there is no usable one."""
    for name, value in (metadata or {}).items():
        if name.lower() == _TTL:
            text = value.strip()
            if not (text.isascii() and text.isdigit()) or len(text) > _MAX_TTL_DIGITS:
                return None
            return int(text) or None
    return None


@dataclass(slots=True)
class PublishRequest:
    """One message for a broker topic. ``metadata=None``: the caller gave no map at all."""

    topic: str
    data: bytes
    metadata: Mapping[str, str] | None = None
    content_type: str | None = None


@dataclass(slots=True)
class Message:
    """One message from a broker."""

    topic: str
    data: bytes
    metadata: Mapping[str, str] | None = None
    content_type: str | None = None


MessageHandler = Callable[[Message], Awaitable[None]]
"""Returns when the message is done with (acknowledge it); raises when it is to be redelivered."""


@dataclass(slots=True)
class BulkPublishEntry:
    """One message of a bulk publish."""

    entry_id: str
    data: bytes
    content_type: str
    metadata: Mapping[str, str] | None = None


class Subscription(Protocol):
    """A live subscription. ``close`` stops new deliveries, waits for running handlers, and leaves
    unacknowledged messages with the broker.
    """

    async def close(self) -> None: ...


class PubSub(Component):
    """Required of every broker."""

    features: ClassVar[tuple[Feature, ...]] = ()

    @abstractmethod
    async def publish(self, request: PublishRequest) -> None: ...

    @abstractmethod
    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        """Start delivering; returns once the broker knows the subscription."""

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        """Publish all, at most 100 at once; returns the failed ones by entry id."""
        gate = asyncio.Semaphore(100)

        async def one(entry: BulkPublishEntry) -> None:
            async with gate:
                await self.publish(
                    PublishRequest(topic, entry.data, entry.metadata, entry.content_type)
                )

        results = await asyncio.gather(*map(one, entries), return_exceptions=True)
        return {
            entry.entry_id: result
            for entry, result in zip(entries, results, strict=True)
            if isinstance(result, Exception)
        }


@dataclass(slots=True)
class BulkMessage:
    """One message of a native bulk delivery."""

    entry_id: str
    message: Message


BulkHandler = Callable[[Sequence[BulkMessage]], Awaitable[Mapping[str, Exception]]]
"""Returns the failed entries by id; those are redelivered, the others acknowledged."""


@runtime_checkable
class BulkSubscriber(Protocol):
    """A broker that reads batches natively."""

    async def bulk_subscribe(
        self,
        topic: str,
        metadata: Mapping[str, str],
        max_messages: int,
        max_await_seconds: float,
        handler: BulkHandler,
    ) -> Subscription: ...
