"""``pubsub.rabbitmq``: exchanges and queues, laid out as every Dapr sidecar lays them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.common import FieldTable

from dapr_common.observe.logs import get_logger
from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pubsub.base import (
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
    ttl_seconds,
)
from dapr_sidecar.components.rabbitmq.connection import RabbitConnection
from dapr_sidecar.components.rabbitmq.consumer import IN_FLIGHT, QueueReading, RabbitSession
from dapr_sidecar.components.rabbitmq.publisher import RabbitPublisher
from dapr_sidecar.components.rabbitmq.settings import Broker

_LOG = get_logger("dapr.contrib.pubsub.rabbitmq")
_MAX_PRIORITY = 255


class ExchangeKind(Enum):
    """What an exchange does with a message."""

    FANOUT = "fanout"
    DIRECT = "direct"
    TOPIC = "topic"


class Concurrency(Enum):
    """Whether the messages of a topic are handled side by side."""

    PARALLEL = "parallel"
    SINGLE = "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMqSettings:
    """Names as in Dapr; bare numbers of durations are seconds."""

    connection_string: str = setting(
        "connectionString", default="", secret=True, help="amqp://user:password@host:port"
    )
    hostname: str = setting("hostname", default="localhost", help="host:port, without the string")
    protocol: str = setting("protocol", default="amqp", help="amqp or amqps, without the string")
    username: str = setting("username", default="", help="user, without the string")
    password: str = setting("password", default="", secret=True, help="its password")
    consumer_id: str = setting("consumerID", default="", help="first part of queue names")
    durable: bool = setting("durable", default=True, help="exchanges and queues survive a restart")
    deleted_when_unused: bool = setting(
        "deletedWhenUnused", default=True, help="queues go with their last consumer"
    )
    auto_ack: bool = setting("autoAck", default=False, help="failed messages count as delivered")
    delivery_mode: int = setting("deliveryMode", default=0, help="2: the broker writes to disk")
    requeue_in_failure: bool = setting(
        "requeueInFailure", default=False, help="failed messages come again; else dead or dropped"
    )
    prefetch_count: int = setting(
        "prefetchCount", default=0, help=f"messages held at once; 0: {IN_FLIGHT}"
    )
    reconnect_wait: timedelta = setting(
        "reconnectWaitSeconds", default=timedelta(seconds=3), help="pause before connecting again"
    )
    concurrency: Concurrency = setting(
        "concurrency", default=Concurrency.PARALLEL, help="single: one message after the other"
    )
    publisher_confirm: bool = setting(
        "publisherConfirm",
        default=True,
        help="publishing succeeds when the broker has the message, not when it was sent",
    )
    enable_dead_letter: bool = setting(
        "enableDeadLetter", default=False, help="failed messages go to a queue `dlq-…`"
    )
    max_len: int | None = setting("maxLen", default=None, help="most messages of a queue")
    max_len_bytes: int | None = setting("maxLenBytes", default=None, help="most bytes of a queue")
    exchange_kind: ExchangeKind = setting(
        "exchangeKind", default=ExchangeKind.FANOUT, help="how topics route"
    )
    ttl: timedelta | None = setting(
        "ttlInSeconds", default=None, help="when messages expire that do not say so"
    )
    client_name: str = setting("clientName", default="", help="what the broker calls us")
    heartbeat: timedelta = setting(
        "heartBeat", default=timedelta(seconds=10), help="how often each side shows life"
    )
    properties_to_metadata: bool = setting(
        "publishMessagePropertiesToMetadata",
        default=False,
        help="the app gets messageID, correlationID, contentType, type and headers",
    )
    ca_cert: str = setting("caCert", default="", help="authorities of the broker, PEM")
    client_cert: str = setting("clientCert", default="", help="certificate of this client, PEM")
    client_key: str = setting("clientKey", default="", secret=True, help="its key, PEM")
    sasl_external: bool = setting(
        "saslExternal", default=False, help="the client certificate says who we are"
    )

    def broker(self) -> Broker:
        """Raises ``SettingsError``."""
        if not 0 <= self.delivery_mode <= 2:
            raise SettingsError("invalid metadata field 'deliveryMode': expected 0, 1 or 2")
        url, field = self.connection_string, "connectionString"
        if not url:
            user = f"{self.username}:{self.password}@" if self.username else ""
            url, field = f"{self.protocol}://{user}{self.hostname}", "hostname"
        return Broker(
            url=url,
            field=field,
            heartbeat_seconds=int(self.heartbeat.total_seconds()),
            client_name=self.client_name,
            ca_cert=self.ca_cert,
            client_cert=self.client_cert,
            client_key=self.client_key,
            sasl_external=self.sasl_external,
        )


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
