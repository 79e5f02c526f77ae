"""``pubsub.redis``: Redis streams, laid out as every Dapr sidecar lays them out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.workers import Workers
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pubsub.base import (
    BulkHandler,
    BulkPublishEntry,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)
from dapr_sidecar.components.pubsub.batching import Batcher
from dapr_sidecar.components.pubsub.redis_consumer import Consumer
from dapr_sidecar.components.pubsub.redis_entries import ConsumerLimits
from dapr_sidecar.components.redis.client import RedisClient
from dapr_sidecar.components.redis.connection import Argument
from dapr_sidecar.components.redis.settings import RedisSettings

_MILLISECONDS = 0.001
_SORTED = orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPubSubSettings(RedisSettings):
    """Connection settings, and those of streams; bare numbers of durations are milliseconds."""

    consumer_id: str = setting("consumerID", default="", help="the consumer group; the app id")
    redeliver_interval: timedelta = setting(
        "redeliverInterval",
        default=timedelta(seconds=15),
        duration_unit=_MILLISECONDS,
        help="how often abandoned messages are looked for; 0 never",
    )
    processing_timeout: timedelta = setting(
        "processingTimeout",
        default=timedelta(seconds=60),
        duration_unit=_MILLISECONDS,
        help="how long a delivery may take; also when a message counts as abandoned; 0 never",
    )
    queue_depth: int = setting("queueDepth", default=100, help="messages read ahead")
    concurrency: int = setting("concurrency", default=10, help="messages delivered at once")
    max_len_approx: int = setting("maxLenApprox", default=0, help="trim streams to this length")
    stream_ttl: timedelta = setting(
        "streamTTL", default=timedelta(0), help="trim messages older than this"
    )


class RedisPubSub(PubSub):
    """One component; all its topics share the workers.

    A failed delivery is not acknowledged: it stays pending and comes again.
    """

    settings = RedisPubSubSettings

    def __init__(self, settings: RedisPubSubSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        if settings.max_len_approx and settings.stream_ttl:
            raise SettingsError(
                "metadata fields 'maxLenApprox' and 'streamTTL' exclude each other: give one"
            )
        self._client = RedisClient(settings)
        self._group = settings.consumer_id.strip() or context.app_id
        self._max_len = settings.max_len_approx
        self._ttl_ms = int(settings.stream_ttl.total_seconds() * 1000)
        self._limits = ConsumerLimits.of(
            settings.queue_depth,
            settings.processing_timeout,
            settings.redeliver_interval,
            settings.read_timeout,
        )
        self._concurrency = max(settings.concurrency, 1)
        self._workers = Workers(self._concurrency)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.ping()

    async def publish(self, request: PublishRequest) -> None:
        await self._client.command(*self._add(request.topic, request.data, request.metadata))

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        results = await self._client.pipeline(
            [self._add(topic, entry.data, entry.metadata) for entry in entries]
        )
        return {
            entry.entry_id: result
            for entry, result in zip(entries, results, strict=True)
            if isinstance(result, Exception)
        }

    def _add(
        self, topic: str, data: bytes, metadata: Mapping[str, str] | None
    ) -> Sequence[Argument]:
        trim: tuple[Argument, ...] = ()
        if self._max_len:
            trim = ("MAXLEN", "~", self._max_len)
        elif self._ttl_ms:
            trim = ("MINID", "~", f"{int(time.time() * 1000) - self._ttl_ms}-1")
        if metadata is None:
            return ("XADD", topic, *trim, "*", "data", data)
        text = orjson.dumps(metadata, option=_SORTED) if metadata else b"{}"
        return ("XADD", topic, *trim, "*", "data", data, "metadata", text)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        return await self._consumer(topic, handler, self._workers, self._limits)

    async def bulk_subscribe(
        self,
        topic: str,
        metadata: Mapping[str, str],
        max_messages: int,
        max_await_seconds: float,
        handler: BulkHandler,
    ) -> Subscription:
        """Batches may be larger than ``concurrency``: what waits for its batch holds no worker."""
        batcher = Batcher(handler, max_messages, max_await_seconds)
        workers = Workers(max(self._concurrency, max_messages))
        limits = self._limits.at_least(2 * max_messages)
        return await self._consumer(topic, batcher.handle, workers, limits, batcher.close)

    async def _consumer(
        self,
        topic: str,
        handler: MessageHandler,
        workers: Workers,
        limits: ConsumerLimits,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> Consumer:
        consumer = Consumer(
            self._context.name,
            self._client,
            topic,
            self._group,
            handler,
            workers,
            limits,
            flush=flush,
        )
        await consumer.start()
        return consumer
