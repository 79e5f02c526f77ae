"""``pubsub.gcp.pubsub``: Google Cloud Pub/Sub."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.gcp.settings import GcpSettings
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pubsub.base import (
    BulkPublishEntry,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)
from dapr_sidecar.components.pubsub.gcp_client import PubSubClient, PubSubError
from dapr_sidecar.components.pubsub.gcp_session import GcpSession

_IN_FLIGHT = 1000
_THERE_ALREADY = 409
_LEAST_DEADLINE, _MOST_DEADLINE = 10, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpPubSubSettings(GcpSettings):
    """Who we are, and these; bare numbers of durations are seconds."""

    consumer_id: str = setting("consumerID", default="", help="first part of subscription names")
    endpoint: str = setting("endpoint", default="", help="host:port of an emulator")
    ordering: bool = setting(
        "enableMessageOrdering", default=False, help="messages of one key come in order"
    )
    ordering_key: str = setting("orderingKey", default="", help="key of messages without one")
    no_management: bool = setting(
        "disableEntityManagement", default=False, help="topics and subscriptions are there"
    )
    reconnect_attempts: int = setting(
        "maxReconnectionAttempts", default=30, help="accepted; reading never gives up"
    )
    recovery: timedelta = setting(
        "connectionRecoveryInSec", default=timedelta(seconds=2), help="pause before reading again"
    )
    dead_letter_topic: str = setting(
        "deadLetterTopic", default="", help="where the service puts what failed too often"
    )
    max_attempts: int = setting(
        "maxDeliveryAttempts", default=5, help="what too often means: 5 to 100"
    )
    max_messages: int = setting(
        "maxOutstandingMessages", default=_IN_FLIGHT, help="messages held at once"
    )
    max_bytes: int = setting(
        "maxOutstandingBytes", default=0, help="accepted; maxOutstandingMessages bounds"
    )
    max_connections: int = setting(
        "maxConcurrentConnections", default=0, help="accepted; one request at a time reads"
    )
    ack_deadline: timedelta = setting(
        "ackDeadline", default=timedelta(seconds=20), help="how long a message is ours; 10 s up"
    )

    def deadline(self) -> int:
        """Seconds. Raises ``SettingsError``."""
        seconds = int(self.ack_deadline.total_seconds())
        if not _LEAST_DEADLINE <= seconds <= _MOST_DEADLINE:
            raise SettingsError("invalid metadata field 'ackDeadline': expected 10s to 600s")
        return seconds


class GcpPubSub(PubSub):
    """A group's subscription to a topic is ``<consumerID>-<topic>``."""

    settings = GcpPubSubSettings

    def __init__(self, settings: GcpPubSubSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._deadline = settings.deadline()
        self._group = settings.consumer_id.strip() or context.app_id
        self._client = PubSubClient(settings, settings.endpoint)
        self._known: set[str] = set()

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        project = f"projects/{self._config.project_id}"
        await self._client.call(f"{project}/topics?pageSize=1", method="GET")

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, request: PublishRequest) -> None:
        await self._publish(request.topic, [self._message(request.data, request.metadata)])

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        """One request: all or none."""
        try:
            await self._publish(topic, [self._message(one.data, one.metadata) for one in entries])
        except Exception as error:  # noqa: BLE001 - told entry by entry
            return {entry.entry_id: error for entry in entries}
        return {}

    async def _publish(self, topic: str, messages: list[dict[str, Any]]) -> None:
        await self._ensure_topic(topic)
        await self._client.call(f"{self._client.topic(topic)}:publish", {"messages": messages})

    def _message(self, data: bytes, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        given = dict(metadata or {})
        key = next((v for n, v in given.items() if n.lower() == "orderingkey"), "")
        found: dict[str, Any] = {"data": base64.b64encode(data).decode(), "attributes": given}
        if not data and not given:
            found["attributes"] = {"empty": "true"}  # the service takes no message of nothing
        if self._config.ordering and (key := key or self._config.ordering_key):
            found["orderingKey"] = key
        return found

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        config = self._config
        name = self._client.subscription(f"{self._group}-{topic}")
        await self._ensure_topic(topic)
        await self._ensure_subscription(name, topic)
        limit = max(config.max_messages, 1)

        async def opener(put: Callable[[Delivery[Message]], None]) -> Session:
            session = GcpSession(self._client, name, topic, self._deadline, put, receiver.room)
            session.start()
            return session

        receiver: Receiver[Message] = Receiver(
            name,
            opener,
            handler,
            concurrency=1 if config.ordering else limit,
            limit=limit + 2,  # the next ones are there when one is done
            pause=config.recovery.total_seconds(),
        )
        await receiver.start()
        return receiver

    # --- entities ---------------------------------------------------------------------------

    async def _ensure_topic(self, topic: str) -> None:
        await self._ensure(self._client.topic(topic), {})

    async def _ensure_subscription(self, name: str, topic: str) -> None:
        words: dict[str, Any] = {
            "topic": self._client.topic(topic),
            "ackDeadlineSeconds": self._deadline,
            "enableMessageOrdering": self._config.ordering,
        }
        if dead := self._config.dead_letter_topic:
            await self._ensure_topic(dead)
            words["deadLetterPolicy"] = {
                "deadLetterTopic": self._client.topic(dead),
                "maxDeliveryAttempts": self._config.max_attempts,
            }
        await self._ensure(name, words)

    async def _ensure(self, name: str, words: dict[str, Any]) -> None:
        """Make it unless it is there, or the manifest forbids it."""
        if self._config.no_management or name in self._known:
            return
        try:
            await self._client.call(name, words, method="PUT")
        except PubSubError as error:
            if error.status != _THERE_ALREADY:
                raise
        self._known.add(name)
