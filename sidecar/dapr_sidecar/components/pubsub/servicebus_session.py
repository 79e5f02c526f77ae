"""A receiver of Azure Service Bus as a consumer's session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import first_ended
from dapr_sidecar.components.consuming.receiver import Delivery
from dapr_sidecar.components.pubsub.base import Message
from dapr_sidecar.components.pubsub.servicebus_messages import body_of, metadata_of

_LOG = get_logger("dapr.contrib.pubsub.azure.servicebus")
_WAIT_SECONDS = 5.0
_MOST = 100
_CLOSE_SECONDS = 3.0


class ServiceBusSession:
    """Messages are locked for us; locks are renewed while they are held here."""

    def __init__(
        self,
        receiver: ServiceBusReceiver,
        topic: str,
        renewal_seconds: float,
        put: Callable[[Delivery[Message]], None],
        room: Callable[[], Awaitable[int]],
    ) -> None:
        self._receiver = receiver
        self._topic = topic
        self._renewal_seconds = renewal_seconds
        self._put = put
        self._room = room
        self._held: dict[int, ServiceBusReceivedMessage] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Attach. Raises ``ServiceBusError``."""
        try:
            await self._receiver.__aenter__()
        except BaseException:
            with contextlib.suppress(Exception):  # what was begun
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._receiver.close()
            raise
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._renew())]

    async def ended(self) -> None:
        await first_ended(self._tasks)

    async def stop(self) -> None:
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])

    async def close(self) -> None:
        """Give back what was not handled, and detach."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        held, self._held = list(self._held.values()), {}
        try:
            for message in held:
                await self._receiver.abandon_message(message)
        finally:
            await self._receiver.close()

    async def _read(self) -> None:
        while True:
            room = await self._room()
            messages = await self._receiver.receive_messages(
                max_message_count=max(min(room, _MOST), 1), max_wait_time=_WAIT_SECONDS
            )
            for message in messages:
                self._take(message)

    def _take(self, message: ServiceBusReceivedMessage) -> None:
        key = id(message)
        self._held[key] = message

        async def accept() -> None:
            self._held.pop(key, None)
            await self._receiver.complete_message(message)

        async def refuse() -> None:
            self._held.pop(key, None)
            await self._receiver.abandon_message(message)

        taken = Message(self._topic, body_of(message), metadata_of(message), message.content_type)
        self._put(Delivery(taken, accept, refuse))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._renewal_seconds)
            for message in list(self._held.values()):
                with contextlib.suppress(MessageLockLostError):  # it comes again
                    try:
                        await self._receiver.renew_message_lock(message)
                    except MessageLockLostError:
                        raise
                    except ServiceBusError as error:
                        _LOG.warning("a lock on %s was not renewed: %s", self._topic, error)
