"""``pubsub.mqtt3``: MQTT 3.1.1; topics may have wildcards, and be shared by groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.mqtt.connection import Arrived, MqttConnection
from dapr_sidecar.components.mqtt.settings import MqttSettings
from dapr_sidecar.components.mqtt.subscription import MqttSubscription
from dapr_sidecar.components.pubsub.base import (
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttPubSubSettings(MqttSettings):
    """Those of everything that speaks MQTT."""


class MqttPubSub(PubSub):
    """One session for everything; replicas share a topic by ``$share/<group>/<topic>``."""

    settings = MqttPubSubSettings
    features = (Feature.SUBSCRIBE_WILDCARDS,)

    def __init__(self, settings: MqttPubSubSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._connection = MqttConnection(
            settings.server(),
            settings.consumer_id.strip() or context.app_id,
            clean_session=settings.clean_session,
        )

    async def open(self) -> None:
        await self._connection.open()

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        await self._connection.ping()

    async def publish(self, request: PublishRequest) -> None:
        config = self._config
        await self._connection.publish(
            request.topic, request.data, qos=config.qos, retain=config.retain
        )

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        given = {name.lower(): value for name, value in metadata.items()}
        subscription = MqttSubscription(
            self._connection,
            topic,
            self._config.qos,
            _message,
            handler,
            unsubscribe=is_truthy(given.get("unsubscribeonclose", "")),
        )
        await subscription.start()
        return subscription


def _message(arrived: Arrived) -> Message:
    return Message(arrived.topic, arrived.payload)
