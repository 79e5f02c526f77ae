"""``bindings.rabbitmq``: messages of a queue as events, and messages to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.common import FieldTable

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.rabbitmq.connection import RabbitConnection
from dapr_sidecar.components.rabbitmq.consumer import IN_FLIGHT, QueueReading, RabbitSession
from dapr_sidecar.components.rabbitmq.publisher import RabbitPublisher
from dapr_sidecar.components.rabbitmq.settings import Broker

_MAX_PRIORITY = 255
# The one that routes to queues by their names.
_DEFAULT_EXCHANGE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMqBindingSettings:
    """Names as in Dapr; bare numbers of durations are seconds."""

    host: str = setting("host", secret=True, help="amqp://user:password@host:port")
    queue: str = setting("queueName", help="the queue; it is made when it is not there")
    durable: bool = setting("durable", default=False, help="the queue survives a restart")
    delete_when_unused: bool = setting(
        "deleteWhenUnused", default=False, help="the queue goes with its last consumer"
    )
    exclusive: bool = setting("exclusive", default=False, help="the queue is this connection's")
    ttl: timedelta | None = setting(
        "ttl", aliases=("ttlInSeconds",), default=None, help="when messages expire"
    )
    prefetch_count: int = setting(
        "prefetchCount", default=0, help=f"messages held at once; 0: {IN_FLIGHT}"
    )
    max_priority: int | None = setting("maxPriority", default=None, help="the queue's; 1 to 255")
    content_type: str = setting("contentType", default="text/plain", help="of messages sent")
    reconnect_wait: timedelta = setting(
        "reconnectWaitInSeconds", default=timedelta(seconds=5), help="pause before connecting again"
    )
    ca_cert: str = setting("caCert", default="", help="authorities of the broker, PEM")
    client_cert: str = setting("clientCert", default="", help="certificate of this client, PEM")
    client_key: str = setting("clientKey", default="", secret=True, help="its key, PEM")
    external_sasl: bool = setting(
        "externalSasl", default=False, help="the client certificate says who we are"
    )

    def broker(self) -> Broker:
        """Raises ``SettingsError`` when used."""
        return Broker(
            url=self.host,
            field="host",
            ca_cert=self.ca_cert,
            client_cert=self.client_cert,
            client_key=self.client_key,
            sasl_external=self.external_sasl,
        )


class RabbitMqBinding(InputBinding, OutputBinding):
    """``create`` sends to the queue; failed events go back into it."""

    settings: ClassVar[type[Any]] = RabbitMqBindingSettings
    operations = ("create",)

    def __init__(self, settings: RabbitMqBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        broker = settings.broker()
        sending = RabbitConnection(broker)
        self._publisher = RabbitPublisher(
            sending, self._declare_for_sending, confirms=True, attempts=1
        )
        # Only the connection that declared an exclusive queue may read it.
        self._receiving = sending if settings.exclusive else RabbitConnection(broker)
        self._receiver: Receiver[Event] | None = None

    async def open(self) -> None:
        await self._publisher.prepare(_DEFAULT_EXCHANGE)

    async def close(self) -> None:
        await self.stop()
        await self._publisher.close()
        await self._receiving.close()

    async def ping(self) -> None:
        await self._publisher.check()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        properties = Basic.Properties(
            content_type=self._config.content_type,
            delivery_mode=2 if self._config.durable else 1,
            expiration=_expiration(self._config, request),
            priority=_number("priority", request.metadata.get("priority", "")),
        )
        await self._publisher.publish(
            _DEFAULT_EXCHANGE, self._config.queue, request.data, properties
        )
        return None

    async def _declare_for_sending(self, channel: AbstractChannel, _exchange: str) -> None:
        await self._declare(channel)

    async def _declare(self, channel: AbstractChannel) -> None:
        config = self._config
        arguments: FieldTable = {}
        if config.ttl is not None:
            arguments["x-message-ttl"] = int(config.ttl.total_seconds() * 1000)
        if config.max_priority is not None:
            arguments["x-max-priority"] = min(max(config.max_priority, 1), _MAX_PRIORITY)
        await channel.queue_declare(
            config.queue,
            durable=config.durable,
            exclusive=config.exclusive,
            auto_delete=config.delete_when_unused,
            arguments=arguments,
        )

    async def start(self, handler: EventHandler) -> None:
        prefetch = self._config.prefetch_count or IN_FLIGHT
        reading = QueueReading(queue=self._config.queue, prefetch=prefetch, requeue=True)

        async def opener(put: Callable[[Delivery[Event]], None]) -> Session:
            return await RabbitSession.open(self._receiving, self._declare, reading, _event, put)

        self._receiver = Receiver(
            f"queue {self._config.queue}",
            opener,
            handler,
            concurrency=prefetch,
            limit=prefetch,
            pause=self._config.reconnect_wait.total_seconds(),
        )
        await self._receiver.start()

    async def stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()


def _event(delivered: DeliveredMessage) -> Event:
    headers = delivered.header.properties.headers or {}
    return Event(delivered.body, {name: str(value) for name, value in headers.items()})


def _expiration(config: RabbitMqBindingSettings, request: InvokeRequest) -> str | None:
    seconds = _number("ttlInSeconds", request.metadata.get("ttlInSeconds", ""))
    if seconds is None:
        return None if config.ttl is None else str(int(config.ttl.total_seconds() * 1000))
    return str(seconds * 1000)


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"invalid metadata '{name}': '{text}': expected a whole number")
    return int(text)
