"""``pubsub.jetstream``: NATS JetStream; a topic is a subject of a stream that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import orjson
from nats.aio.client import Client
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from dapr_common.durations import parse_go_duration
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context
from dapr_sidecar.components.pubsub import jetstream_connection
from dapr_sidecar.components.pubsub.base import (
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)
from dapr_sidecar.components.pubsub.jetstream_identity import jwt_options
from dapr_sidecar.components.pubsub.jetstream_session import IN_FLIGHT, JetStreamSession

_LOG = get_logger("dapr.contrib.pubsub.jetstream")
_CONNECT_SECONDS = 10.0
_PUBLISH_SECONDS = 15.0
_PING_SECONDS = 5.0
_PING_INTERVAL = 10
_FLUSH_SECONDS = 5.0
_PAUSE = 1
_TLS_NAMES = ("tls_ca_cert", "tls_client_cert", "tls_client_key")


class DeliverFrom(Enum):
    """Where a new consumer begins."""

    ALL = "all"
    LAST = "last"
    NEW = "new"
    SEQUENCE = "sequence"
    TIME = "time"


class Acknowledge(Enum):
    """What the server wants to hear about messages."""

    EXPLICIT = "explicit"
    ALL = "all"
    NONE = "none"


class Concurrency(Enum):
    """Whether the messages of a topic are handled side by side."""

    SINGLE = "single"
    PARALLEL = "parallel"


def _durations(text: str) -> tuple[float, ...]:
    return tuple(parse_go_duration(part.strip()).total_seconds() for part in text.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class JetStreamSettings:
    """Names as in Dapr; bare numbers of durations are seconds."""

    url: str = setting("natsURL", help="nats://host:port; several with commas")
    token: str = setting("token", default="", secret=True, help="token that the server wants")
    jwt: str = setting("jwt", default="", secret=True, help="decentralized credentials: the JWT")
    seed: str = setting("seedKey", default="", secret=True, help="and its seed")
    client_cert: str = setting(
        "tls_client_cert", default="", help="certificate of this client, PEM"
    )
    client_key: str = setting("tls_client_key", default="", secret=True, help="its key, PEM")
    name: str = setting("name", default="dapr.io - pubsub.jetstream", help="the connection's name")
    stream: str = setting(
        "streamName", default="", help="the stream; found by the topic when empty"
    )
    durable: str = setting(
        "durableName", default="", help="the server keeps the position under this name"
    )
    queue_group: str = setting(
        "queueGroupName", default="", help="members of the group share the messages"
    )
    start_sequence: int | None = setting(
        "startSequence", default=None, help="where deliverPolicy sequence begins"
    )
    start_time: int | None = setting(
        "startTime", default=None, help="where deliverPolicy time begins, Unix seconds"
    )
    flow_control: bool = setting("flowControl", default=False, help="wants heartbeat, too")
    ack_wait: timedelta | None = setting(
        "ackWait", default=None, help="pause before a failed message comes again"
    )
    max_deliver: int | None = setting("maxDeliver", default=None, help="a message's attempts")
    back_off: tuple[float, ...] = setting(
        "backOff", default=(), parse=_durations, help="pauses between attempts, with commas"
    )
    max_ack_pending: int | None = setting(
        "maxAckPending", default=None, help=f"messages held at once; {IN_FLIGHT}"
    )
    replicas: int | None = setting("replicas", default=None, help="replicas of the consumer")
    memory_storage: bool = setting("memoryStorage", default=False, help="consumer kept in memory")
    rate_limit: int | None = setting("rateLimit", default=None, help="bits per second")
    heartbeat: timedelta | None = setting(
        "heartbeat", default=None, help="how often the server shows life"
    )
    deliver_policy: DeliverFrom = setting(
        "deliverPolicy", default=DeliverFrom.ALL, help="where a new consumer begins"
    )
    ack_policy: Acknowledge = setting(
        "ackPolicy", default=Acknowledge.EXPLICIT, help="what is acknowledged"
    )
    domain: str = setting("domain", default="", help="JetStream domain")
    api_prefix: str = setting("apiPrefix", default="", help="prefix of the JetStream API")
    concurrency: Concurrency = setting(
        "concurrency", default=Concurrency.SINGLE, help="parallel: side by side, out of order"
    )

    def consumer(self, topic: str) -> ConsumerConfig:
        """What the server is told about a subscription. Raises ``SettingsError``."""
        policy = self.deliver_policy
        if policy is DeliverFrom.SEQUENCE and self.start_sequence is None:
            raise SettingsError("missing required metadata field 'startSequence'")
        if policy is DeliverFrom.TIME and self.start_time is None:
            raise SettingsError("missing required metadata field 'startTime'")
        if self.flow_control and self.heartbeat is None:
            raise SettingsError("missing required metadata field 'heartbeat': flowControl is on")
        names = {DeliverFrom.SEQUENCE: "by_start_sequence", DeliverFrom.TIME: "by_start_time"}
        by_sequence, by_time = policy is DeliverFrom.SEQUENCE, policy is DeliverFrom.TIME
        return ConsumerConfig(
            durable_name=self.durable or None,
            deliver_group=self.queue_group or None,
            filter_subject=topic,
            deliver_policy=DeliverPolicy(names.get(policy, policy.value)),
            opt_start_seq=self.start_sequence if by_sequence else None,
            opt_start_time=datetime.fromtimestamp(self.start_time or 0, UTC) if by_time else None,
            ack_policy=AckPolicy(self.ack_policy.value),
            ack_wait=None if self.ack_wait is None else self.ack_wait.total_seconds(),
            max_deliver=self.max_deliver,
            backoff=list(self.back_off) or None,
            max_ack_pending=self._pending(),
            num_replicas=self.replicas,
            mem_storage=self.memory_storage or None,
            rate_limit_bps=self.rate_limit,
            flow_control=self.flow_control or None,
            idle_heartbeat=None if self.heartbeat is None else self.heartbeat.total_seconds(),
        )

    def _pending(self) -> int | None:
        return None if self.ack_policy is Acknowledge.NONE else self.max_ack_pending


class JetStreamPubSub(PubSub):
    """One connection; a subscription is a push consumer."""

    settings = JetStreamSettings

    def __init__(self, settings: JetStreamSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        settings.consumer("")
        self._config = settings
        self._options = jwt_options(settings.jwt, settings.seed)
        if settings.client_cert or settings.client_key:
            self._options["tls"] = client_context(
                certificate=settings.client_cert, key=settings.client_key, names=_TLS_NAMES
            )
        if settings.token:
            self._options["token"] = settings.token
        self._shown = _hosts(settings.url)
        self._client = Client()
        self._watch: asyncio.Task[None] | None = None
        self._reconnected: set[Callable[[], None]] = set()

    @property
    def _stream(self) -> JetStreamContext:
        names: dict[str, Any] = {"timeout": _PUBLISH_SECONDS}
        if self._config.domain:
            names["domain"] = self._config.domain
        if self._config.api_prefix:
            names["prefix"] = self._config.api_prefix
        return self._client.jetstream(**names)

    async def open(self) -> None:
        try:
            async with within(_CONNECT_SECONDS, f"no NATS server answered at {self._shown}"):
                await self._client.connect(
                    [server.strip() for server in self._config.url.split(",")],
                    name=self._config.name,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_PAUSE,
                    ping_interval=_PING_INTERVAL,
                    flush_timeout=_FLUSH_SECONDS,
                    error_cb=self._on_error,
                    reconnected_cb=self._on_reconnect,
                    **self._options,
                )
        except BaseException:
            await jetstream_connection.end(self._client)
            raise
        watching = jetstream_connection.keep_moving(self._client)
        self._watch = asyncio.get_running_loop().create_task(watching)

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        await jetstream_connection.end(self._client)

    async def ping(self) -> None:
        async with self._described("did not answer", _PING_SECONDS):
            await self._client.flush()

    async def publish(self, request: PublishRequest) -> None:
        event_id = _event_id(request.data)
        headers = None if event_id is None else {"Nats-Msg-Id": event_id}
        async with self._described("did not take the message", _PUBLISH_SECONDS):
            await self._stream.publish(request.topic, request.data, headers=headers)

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        config = self._config
        limit = config.max_ack_pending or IN_FLIGHT

        async def opener(put: Callable[[Delivery[Message]], None]) -> Session:
            stream = self._stream
            name = config.stream or await stream.find_stream_name_by_subject(topic)
            pause = None if config.ack_wait is None else config.ack_wait.total_seconds()
            wanted = config.consumer(topic)
            session = JetStreamSession(stream, name, wanted, pause, put, receiver.room)
            await session.open()
            session.watch(self._reconnected)
            return session

        receiver: Receiver[Message] = Receiver(
            f"subject {topic}",
            opener,
            handler,
            concurrency=1 if config.concurrency is Concurrency.SINGLE else limit,
            limit=limit,
            pause=_PAUSE,
        )
        await receiver.start()
        return receiver

    @asynccontextmanager
    async def _described(self, silent: str, seconds: float) -> AsyncIterator[None]:
        """The deadline, and errors that say where the server was looked for."""
        try:
            # The client's own deadlines do not count the time that a full buffer holds a call up.
            async with within(seconds, f"nats at {self._shown} {silent}"):
                yield
        except Error as error:
            raise ConnectionError(f"nats at {self._shown}: {error}") from error

    async def _on_reconnect(self) -> None:
        for look in list(self._reconnected):
            look()

    async def _on_error(self, error: Exception) -> None:
        _LOG.warning("nats at %s: %s", self._shown, str(error) or type(error).__name__)
        jetstream_connection.drop_attempt(self._client)


def _hosts(url: str) -> str:
    """The servers of ``natsURL`` without who logs in."""
    return ",".join(
        part.strip().rpartition("@")[2].rpartition("://")[2].rstrip("/") for part in url.split(",")
    )


def _event_id(data: bytes) -> str | None:
    """The id of a cloud event, which lets the server drop it when it comes twice."""
    if not data.startswith(b"{"):
        return None
    try:
        event = orjson.loads(data)
    except ValueError:
        return None
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) and found else None
