"""Settings of ``pubsub.rabbitmq``; names as in Dapr."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.rabbitmq.consumer import IN_FLIGHT
from dapr_sidecar.components.rabbitmq.settings import Broker


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
