"""``pubsub.rabbitmq``: exchanges and queues, laid out as every Dapr sidecar lays them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.common import FieldTable

from dapr_common.observe.logs import get_logger
from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.pubsub.base import (
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
    ttl_seconds,
)
from dapr_sidecar.components.pubsub.rabbitmq_settings import Concurrency, RabbitMqSettings
from dapr_sidecar.components.rabbitmq.connection import RabbitConnection
from dapr_sidecar.components.rabbitmq.consumer import IN_FLIGHT, QueueReading, RabbitSession
from dapr_sidecar.components.rabbitmq.publisher import RabbitPublisher

_LOG = get_logger("dapr.contrib.pubsub.rabbitmq")
_MAX_PRIORITY = 255


class RabbitMqPubSub(PubSub):
    """A topic is an exchange; a consumer group has one queue per topic."""

    settings = RabbitMqSettings
    features = (Feature.MESSAGE_TTL,)

    def __init__(self, settings: RabbitMqSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._group = settings.consumer_id.strip() or context.app_id
        broker = settings.broker()
        self._publisher = RabbitPublisher(
            RabbitConnection(broker), self._declare_exchange, confirms=settings.publisher_confirm
        )
        self._consumer = RabbitConnection(broker)

    async def open(self) -> None:
        await self._publisher.check()

    async def close(self) -> None:
        await asyncio.gather(self._publisher.close(), self._consumer.close())

    async def ping(self) -> None:
        await self._publisher.check()

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, request: PublishRequest) -> None:
        metadata = {name.lower(): value for name, value in (request.metadata or {}).items()}
        properties = _properties(self._config, request.metadata, metadata)
        await self._publisher.publish(
            request.topic, metadata.get("routingkey", ""), request.data, properties
        )

    async def _declare_exchange(self, channel: AbstractChannel, topic: str) -> None:
        await channel.exchange_declare(
            topic,
            exchange_type=self._config.exchange_kind.value,
            durable=self._config.durable,
            auto_delete=self._config.deleted_when_unused,
        )

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        config = self._config
        given = {name.lower(): value for name, value in metadata.items()}
        queue = given.get("queuename") or f"{self._group}-{topic}"
        arguments = _queue_arguments(config, given, queue)
        prefetch = config.prefetch_count or IN_FLIGHT
        reading = QueueReading(queue=queue, prefetch=prefetch, requeue=config.requeue_in_failure)

        async def declare(channel: AbstractChannel) -> None:
            await self._declare_exchange(channel, topic)
            if config.enable_dead_letter:
                await self._declare_dead_letters(channel, queue)
            await channel.queue_declare(
                queue,
                durable=config.durable,
                auto_delete=config.deleted_when_unused,
                arguments=arguments,
            )
            for key in given.get("routingkey", "").split(","):
                await channel.queue_bind(queue, topic, routing_key=key)

        def convert(delivered: DeliveredMessage) -> Message:
            shown = _shown(delivered) if config.properties_to_metadata else None
            return Message(topic, delivered.body, shown)

        async def opener(put: Callable[[Delivery[Message]], None]) -> Session:
            return await RabbitSession.open(self._consumer, declare, reading, convert, put)

        receiver = Receiver(
            f"queue {queue}",
            opener,
            _settled(handler) if config.auto_ack else handler,
            concurrency=1 if config.concurrency is Concurrency.SINGLE else prefetch,
            limit=prefetch,
            pause=config.reconnect_wait.total_seconds(),
        )
        await receiver.start()
        return receiver

    async def _declare_dead_letters(self, channel: AbstractChannel, queue: str) -> None:
        exchange, dead = f"dlx-{queue}", f"dlq-{queue}"
        await channel.exchange_declare(exchange, exchange_type="fanout", durable=True)
        await channel.queue_declare(dead, durable=True, arguments={"x-queue-mode": "lazy"})
        await channel.queue_bind(dead, exchange, routing_key="")


def _settled(handler: MessageHandler) -> MessageHandler:
    """A handler that never fails: what ``autoAck`` means."""

    async def handle(message: Message) -> None:
        try:
            await handler(message)
        except Exception as error:  # noqa: BLE001 - the manifest says that failures do not count
            _LOG.error("a message of topic %s is lost: %s", message.topic, error)

    return handle


def _properties(
    config: RabbitMqSettings, metadata: Mapping[str, str] | None, lower: Mapping[str, str]
) -> Basic.Properties:
    ttl = ttl_seconds(metadata)
    milliseconds = None if config.ttl is None else int(config.ttl.total_seconds() * 1000)
    if ttl is not None:
        milliseconds = ttl * 1000
    return Basic.Properties(
        content_type=lower.get("contenttype") or "text/plain",
        message_id=lower.get("messageid") or None,
        correlation_id=lower.get("correlationid") or None,
        message_type=lower.get("type") or None,
        delivery_mode=config.delivery_mode or None,
        expiration=str(milliseconds) if milliseconds else None,
        priority=_priority(lower.get("priority", "")),
    )


def _priority(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_PRIORITY):
        raise ValueError(f"invalid metadata 'priority': '{text}': expected 0 to {_MAX_PRIORITY}")
    return int(text)


def _queue_arguments(config: RabbitMqSettings, given: Mapping[str, str], queue: str) -> FieldTable:
    """Raises ``ValueError`` for what the subscription's metadata says wrong."""
    kind = given.get("queuetype") or "classic"
    if kind not in ("classic", "quorum"):
        raise ValueError(f"invalid metadata 'queueType': '{kind}': expected classic or quorum")
    found: FieldTable = {"x-queue-type": kind}
    if config.enable_dead_letter:
        found["x-dead-letter-exchange"] = f"dlx-{queue}"
    if (priority := given.get("maxpriority")) is not None:
        found["x-max-priority"] = _number("maxPriority", priority)
    if is_truthy(given.get("singleactiveconsumer", "")):
        found["x-single-active-consumer"] = True
    lengths = (
        ("maxLen", "x-max-length", config.max_len),
        ("maxLenBytes", "x-max-length-bytes", config.max_len_bytes),
    )
    for name, argument, value in lengths:
        text = given.get(name.lower())
        number = value if text is None else _number(name, text)
        if number is not None:
            found[argument] = number
    return found


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"invalid metadata '{name}': '{text}': expected a whole number")
    return int(text)


def _shown(delivered: DeliveredMessage) -> dict[str, str]:
    properties = delivered.header.properties
    found = {name: str(value) for name, value in (properties.headers or {}).items()}
    named = {
        "messageID": properties.message_id,
        "correlationID": properties.correlation_id,
        "contentType": properties.content_type,
        "type": properties.message_type,
    }
    return found | {name: value for name, value in named.items() if value}
