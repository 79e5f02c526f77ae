"""A consumer's session on one queue of RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from dapr_sidecar.components.consuming.receiver import Delivery
from dapr_sidecar.components.rabbitmq.connection import (
    CALL_SECONDS,
    RabbitConnection,
    close_quietly,
)

IN_FLIGHT = 1000
"""Deliveries held when the manifest sets no ``prefetchCount``: memory has to end somewhere."""
# A message that failed before waits a moment: the broker hands it out again at once.
_REQUEUE_PAUSE = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """How one queue is read."""

    queue: str
    prefetch: int
    requeue: bool
    """Failed messages go back into the queue; else to its dead-letter exchange, or nowhere."""
    exclusive: bool = False


class RabbitSession:
    """One channel that consumes."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._cancelled = asyncio.Event()
        self._tag = ""

    @classmethod
    async def open(
        cls,
        connection: RabbitConnection,
        declare: Callable[[AbstractChannel], Awaitable[None]],
        reading: QueueReading,
        convert: Callable[[DeliveredMessage], T],
        put: Callable[[Delivery[T]], None],
    ) -> RabbitSession:
        """Declare what is read and begin. Raises what the broker says."""
        channel = await connection.channel()
        session = cls(channel)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await declare(channel)
                await channel.basic_qos(prefetch_count=reading.prefetch)
                await session._consume(reading, convert, put)
        except BaseException:
            await close_quietly(channel)
            raise
        return session

    async def _consume(
        self,
        reading: QueueReading,
        convert: Callable[[DeliveredMessage], T],
        put: Callable[[Delivery[T]], None],
    ) -> None:
        async def take(delivered: DeliveredMessage) -> None:
            put(self._delivery(delivered, convert(delivered), reading))

        async def cancelled(_: object) -> None:
            self._cancelled.set()

        self._channel.on_consumer_cancel_callbacks.add(cancelled)
        answer = await self._channel.basic_consume(reading.queue, take, exclusive=reading.exclusive)
        self._tag = answer.consumer_tag or ""

    def _delivery(
        self, delivered: DeliveredMessage, message: T, reading: QueueReading
    ) -> Delivery[T]:
        delivery = delivered.delivery
        assert isinstance(delivery, Basic.Deliver)
        tag = delivery.delivery_tag or 0
        channel = self._channel

        async def accept() -> None:
            await channel.basic_ack(tag, wait=False)

        async def refuse() -> None:
            if reading.requeue and delivery.redelivered:
                await asyncio.sleep(_REQUEUE_PAUSE)
            await channel.basic_nack(tag, requeue=reading.requeue, wait=False)

        return Delivery(message, accept, refuse)

    async def ended(self) -> None:
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait(
                (self._channel.closing, cancelled), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            cancelled.cancel()
        if self._cancelled.is_set():
            raise ConnectionError("the broker ended the consumer: its queue is gone")
        self._channel.closing.result()

    async def stop(self) -> None:
        await self._channel.basic_cancel(self._tag, timeout=CALL_SECONDS)

    async def close(self) -> None:
        await close_quietly(self._channel)
