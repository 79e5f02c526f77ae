"""``bindings.aws.sqs``: messages of a queue as events, and messages to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.aws.queue import (
    QueueReading,
    SqsSession,
    queue_url,
    sqs_client,
)
from dapr_sidecar.components.aws.settings import AwsSettings
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
from dapr_sidecar.components.metadata import SettingsError, setting

_IN_FLIGHT = 100
_WAIT_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsBindingSettings(AwsSettings):
    """Who and where, and these."""

    queue: str = setting("queueName", help="the queue, which is there already")
    visibility_timeout: int = setting(
        "messageVisibilityTimeout", default=30, help="seconds until a failed event comes again"
    )


class SqsBinding(InputBinding, OutputBinding):
    """``create`` sends a message; what the app does not take is shown again."""

    settings: ClassVar[type[Any]] = SqsBindingSettings
    operations = ("create",)

    def __init__(self, settings: SqsBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._config = settings
        self._client = sqs_client(settings)
        self._url = ""
        self._receiver: Receiver[Event] | None = None

    async def open(self) -> None:
        url = await queue_url(self._client, self._config.queue)
        if url is None:
            raise SettingsError(
                f"invalid metadata field 'queueName': there is no queue '{self._config.queue}'"
            )
        self._url = url

    async def close(self) -> None:
        await self.stop()
        await self._client.close()

    async def ping(self) -> None:
        await queue_url(self._client, self._config.queue)

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        try:
            text = request.data.decode()
        except UnicodeDecodeError:
            raise ValueError("SQS takes text only") from None
        await self._client.call("SendMessage", {"QueueUrl": self._url, "MessageBody": text})
        return None

    async def start(self, handler: EventHandler) -> None:
        reading = QueueReading(
            url=self._url, visibility=self._config.visibility_timeout, wait=_WAIT_SECONDS
        )

        async def opener(put: Callable[[Delivery[Event]], None]) -> Session:
            session = SqsSession(self._client, reading, _event, put, receiver.room)
            session.start()
            return session

        receiver: Receiver[Event] = Receiver(
            f"queue {self._config.queue}",
            opener,
            handler,
            concurrency=_IN_FLIGHT,
            limit=_IN_FLIGHT,
            pause=1.0,
        )
        self._receiver = receiver
        await receiver.start()

    async def stop(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            await receiver.close()


def _event(raw: Mapping[str, Any]) -> Event:
    return Event(str(raw.get("Body", "")).encode())
