"""``pubsub.kafka``: topics, keys, headers and groups as every Dapr sidecar uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.kafka.consumer import (
    KafkaConsumer,
    Reading,
    RecordHandler,
    metadata_of,
)
from dapr_sidecar.components.kafka.producer import KafkaProducer
from dapr_sidecar.components.kafka.settings import KafkaSettings
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.pubsub.base import (
    BulkHandler,
    BulkMessage,
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)

_LOG = get_logger("dapr.contrib.pubsub.kafka")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaPubSubSettings(KafkaSettings):
    """Those of everything that speaks to Kafka, and these."""

    consumer_id: str = setting("consumerID", default="", help="the consumer group; the app id")
    retry_enabled: bool = setting(
        "consumeRetryEnabled",
        default=True,
        help="failed messages hold up their partition; else they are passed over",
    )


class KafkaPubSub(PubSub):
    """One producer; a subscription is a member of the consumer group."""

    settings = KafkaPubSubSettings
    features = (Feature.BULK_PUBSUB,)

    def __init__(self, settings: KafkaPubSubSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        settings.check()
        self._config = settings
        self._group = settings.consumer_group or settings.consumer_id.strip() or context.app_id
        self._producer = KafkaProducer(settings)

    async def open(self) -> None:
        await self._producer.open()

    async def close(self) -> None:
        await self._producer.close()

    async def ping(self) -> None:
        await self._producer.ping()

    async def publish(self, request: PublishRequest) -> None:
        # Bulk publishing is many of these at once: the producer packs them into one request.
        await self._producer.send(request.topic, request.data, request.metadata)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        async def handle(records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
            (record,) = records
            try:
                await handler(self._message(record))
            except Exception as error:  # noqa: BLE001 - it is tried again, or passed over
                _LOG.error("message %d of %s failed: %s", record.offset, record.topic, error)
                return records
            return ()

        return await self._consume(topic, handle, self._reading(1, 0.0))

    async def bulk_subscribe(
        self,
        topic: str,
        metadata: Mapping[str, str],
        max_messages: int,
        max_await_seconds: float,
        handler: BulkHandler,
    ) -> Subscription:
        """Batches are of one partition; failed messages are tried again without the others."""

        async def handle(records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
            entries = [
                BulkMessage(str(at), self._message(record)) for at, record in enumerate(records)
            ]
            try:
                failed = await handler(entries)
            except Exception as error:  # noqa: BLE001 - as above
                _LOG.error("%d messages of %s failed: %s", len(records), topic, error)
                return records
            return [record for at, record in enumerate(records) if str(at) in failed]

        return await self._consume(topic, handle, self._reading(max_messages, max_await_seconds))

    async def _consume(self, topic: str, handler: RecordHandler, reading: Reading) -> Subscription:
        consumer = KafkaConsumer(self._config, self._group, [topic], handler, reading)
        await consumer.start()
        return consumer

    def _reading(self, batch: int, seconds: float) -> Reading:
        config = self._config
        return Reading(
            retry=config.retry_interval.total_seconds() if config.retry_enabled else None,
            buffered=max(config.buffer_size, batch, 1),
            batch=max(batch, 1),
            batch_seconds=seconds,
        )

    def _message(self, record: ConsumerRecord) -> Message:
        metadata = metadata_of(record, escape=self._config.escape_headers)
        return Message(record.topic, record.value or b"", metadata)
