"""``bindings.kafka``: records of topics as events, and records to a topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aiokafka import ConsumerRecord

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.kafka.consumer import KafkaConsumer, Reading, metadata_of
from dapr_sidecar.components.kafka.producer import KafkaProducer
from dapr_sidecar.components.kafka.settings import KafkaSettings
from dapr_sidecar.components.metadata import SettingsError, setting

_LOG = get_logger("dapr.contrib.bindings.kafka")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaBindingSettings(KafkaSettings):
    """Those of everything that speaks to Kafka, and these."""

    topics: tuple[str, ...] = setting("topics", default=(), help="topics that bring events")
    publish_topic: str = setting("publishTopic", default="", help="topic that is written to")
    retry_enabled: bool = setting(
        "consumeRetryEnabled",
        default=False,
        help="failed events hold up their partition; else they are passed over",
    )


class KafkaBinding(InputBinding, OutputBinding):
    """``create`` writes a record; metadata becomes headers, ``partitionKey`` its key."""

    settings: ClassVar[type[Any]] = KafkaBindingSettings
    operations = ("create",)

    def __init__(self, settings: KafkaBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        settings.check()
        if not settings.topics and not settings.publish_topic:
            raise SettingsError(
                "missing required metadata field 'topics' for events, or 'publishTopic'"
            )
        self._config = settings
        self._group = settings.consumer_group or context.app_id
        self._producer = KafkaProducer(settings)
        self._consumer: KafkaConsumer | None = None

    async def open(self) -> None:
        await self._producer.open()

    async def close(self) -> None:
        await self.stop()
        await self._producer.close()

    async def ping(self) -> None:
        await self._producer.ping()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        if not self._config.publish_topic:
            raise ValueError("metadata field 'publishTopic' is not set: nothing can be written")
        await self._producer.send(self._config.publish_topic, request.data, request.metadata)
        return None

    async def start(self, handler: EventHandler) -> None:
        config = self._config
        if not config.topics:
            raise SettingsError("missing required metadata field 'topics': events are wanted")

        async def handle(records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
            (record,) = records
            metadata = metadata_of(record, escape=config.escape_headers)
            try:
                await handler(Event(record.value or b"", metadata))
            except Exception as error:  # noqa: BLE001 - tried again, or passed over
                _LOG.error("event %d of %s failed: %s", record.offset, record.topic, error)
                return records
            return ()

        retry = config.retry_interval.total_seconds() if config.retry_enabled else None
        reading = Reading(retry=retry, buffered=max(config.buffer_size, 1))
        self._consumer = KafkaConsumer(config, self._group, config.topics, handle, reading)
        await self._consumer.start()

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()
