"""``bindings.mqtt3``: messages of a topic as events, and messages to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_common.words import is_truthy
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.mqtt.connection import Arrived, MqttConnection
from dapr_sidecar.components.mqtt.settings import MqttSettings
from dapr_sidecar.components.mqtt.subscription import MqttSubscription


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttBindingSettings(MqttSettings):
    """Those of everything that speaks MQTT, and these."""

    topic: str = setting("topic", help="topic of events, and of messages sent")


class MqttBinding(InputBinding, OutputBinding):
    """``create`` sends; the request's ``topic`` and ``retain`` go before the manifest's."""

    settings: ClassVar[type[Any]] = MqttBindingSettings
    operations = ("create",)

    def __init__(self, settings: MqttBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        # Input and output are two objects of one manifest: with one name they would take the
        # session from each other, so the one that only sends has a name of its own.
        self._server = settings.server()
        self._client_id = settings.consumer_id.strip() or context.app_id
        self._sender = MqttConnection(
            self._server, f"{self._client_id}-{uuid.uuid4().hex[:8]}", clean_session=True
        )
        self._reader: MqttConnection | None = None
        self._subscription: MqttSubscription[Event] | None = None

    async def open(self) -> None:
        await self._sender.open()

    async def close(self) -> None:
        await self.stop()
        await self._sender.close()

    async def ping(self) -> None:
        await self._sender.ping()

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        given = request.metadata
        retain = is_truthy(given["retain"]) if "retain" in given else self._config.retain
        await self._sender.publish(
            given.get("topic") or self._config.topic,
            request.data,
            qos=self._config.qos,
            retain=retain,
        )
        return None

    async def start(self, handler: EventHandler) -> None:
        config = self._config
        reader = MqttConnection(self._server, self._client_id, clean_session=config.clean_session)
        await reader.open()
        subscription = MqttSubscription(reader, config.topic, config.qos, _event, handler)
        try:
            await subscription.start()
        except BaseException:
            await reader.close()
            raise
        self._reader, self._subscription = reader, subscription

    async def stop(self) -> None:
        subscription, self._subscription = self._subscription, None
        reader, self._reader = self._reader, None
        if subscription is not None:
            await subscription.close()
        if reader is not None:
            await reader.close()


def _event(arrived: Arrived) -> Event:
    return Event(arrived.payload, {"topic": arrived.topic})
