"""Publishing to RabbitMQ: a connection of its own, few attempts, one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiormq import AMQPError
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import own_cancellation
from dapr_sidecar.components.rabbitmq.connection import RabbitConnection, close_quietly

_LOG = get_logger("dapr.contrib.rabbitmq")
_ATTEMPTS = 3
_RETRY_SECONDS = 2.0
# A publish with all its attempts: a broker that is silent must not hold its callers for minutes.
_PUBLISH_SECONDS = 15.0
_LOST = "the connection was lost"
# A channel that closed while a call waited for its turn is a RuntimeError to the library.
_FAILURES = (AMQPError, OSError, RuntimeError, TimeoutError)

Declare = Callable[[AbstractChannel, str], Awaitable[None]]
"""Makes sure that what is published to an exchange finds it; gets its name."""


class RabbitMqError(Exception):
    """The broker refused, or cannot be reached; the text says where."""


class RabbitPublisher:
    """A broker that is short of memory or disk stops reading from connections that publish: what
    consumers have to say needs another one.
    """

    def __init__(
        self,
        connection: RabbitConnection,
        declare: Declare,
        *,
        confirms: bool,
        attempts: int = _ATTEMPTS,
    ) -> None:
        """The connection is closed with the publisher. ``confirms``: the broker says that it has
        a message. ``attempts``: how often one is sent when the broker does not take it.
        """
        self._shown = connection.shown
        self._connection = connection
        self._declare = declare
        self._confirms = confirms
        self._attempts = attempts
        self._channel: AbstractChannel | None = None
        self._opening: asyncio.Task[AbstractChannel] | None = None
        self._declared: set[str] = set()

    async def check(self) -> None:
        """Raises ``RabbitMqError`` when the broker gives no channel."""
        with self._described():
            async with asyncio.timeout(_PUBLISH_SECONDS):
                with own_cancellation(_LOST):
                    channel = await self._connection.channel()
        await close_quietly(channel)

    async def prepare(self, exchange: str) -> None:
        """Declare what publishing to it needs. Raises ``RabbitMqError``, as ``publish``."""
        with self._described():
            async with asyncio.timeout(_PUBLISH_SECONDS):
                with own_cancellation(_LOST):
                    await self._ready(exchange)

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        await self._connection.close()

    async def publish(
        self, exchange: str, routing_key: str, data: bytes, properties: Basic.Properties
    ) -> None:
        """Returns when the broker has it. Raises ``RabbitMqError``, also past the deadline."""
        with self._described():
            async with asyncio.timeout(_PUBLISH_SECONDS):
                for attempt in range(1, self._attempts + 1):
                    try:
                        with own_cancellation(_LOST):
                            await self._attempt(exchange, routing_key, data, properties)
                    except _FAILURES as error:
                        if attempt == self._attempts:
                            raise
                        _LOG.warning(
                            "%s: publishing to %s, attempt %d: %s",
                            self._shown,
                            exchange,
                            attempt,
                            error,
                        )
                        # An exchange that went with its last queue is declared again at once.
                        if not isinstance(error, ChannelNotFoundEntity):
                            await asyncio.sleep(_RETRY_SECONDS)
                    else:
                        return

    async def _attempt(
        self, exchange: str, routing_key: str, data: bytes, properties: Basic.Properties
    ) -> None:
        channel = await self._ready(exchange)
        await channel.basic_publish(
            data, exchange=exchange, routing_key=routing_key, properties=properties
        )

    async def _ready(self, exchange: str) -> AbstractChannel:
        channel = await self._opened()
        if exchange not in self._declared:
            await self._declare(channel, exchange)
            self._declared.add(exchange)
        return channel

    async def _opened(self) -> AbstractChannel:
        """The channel. Opened once for all who wait: who gives up leaves it to the others."""
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._new_channel())
            self._opening.add_done_callback(_retrieved)
        return await asyncio.shield(self._opening)

    async def _new_channel(self) -> AbstractChannel:
        self._declared.clear()
        with own_cancellation(_LOST):
            self._channel = await self._connection.channel(confirms=self._confirms)
        return self._channel

    @contextmanager
    def _described(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            text = str(error) or f"no answer within {_PUBLISH_SECONDS:g} s"
            raise RabbitMqError(f"{self._shown}: {text}") from error
        except _FAILURES as error:
            raise RabbitMqError(f"{self._shown}: {error}") from error


def _retrieved(task: asyncio.Task[AbstractChannel]) -> None:
    """Look at how it ended: those who waited for it may be gone."""
    if not task.cancelled():
        task.exception()
