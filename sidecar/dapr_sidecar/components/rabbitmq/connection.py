"""One connection to RabbitMQ, made when needed and made again when it was lost."""

from __future__ import annotations

import asyncio
import contextlib

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection

from dapr_sidecar.components.rabbitmq.settings import Broker

_CONNECT_SECONDS = 30.0
CALL_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
_PORTS = {"amqp": 5672, "amqps": 5671}


class RabbitConnection:
    """Channels of one connection. A channel that failed is replaced by who used it."""

    def __init__(self, broker: Broker) -> None:
        """Raises ``SettingsError``."""
        url = broker.address()
        self.shown = f"rabbitmq at {url.host}:{url.port or _PORTS[url.scheme]}"
        """The broker as error texts name it: without user and password."""
        self._address = str(url)
        self._tls = broker.tls()
        self._connection: AbstractConnection | None = None
        self._connecting = asyncio.Lock()

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """A new channel. Raises ``AMQPError``, ``OSError`` or ``TimeoutError``."""
        async with self._connecting:
            connection = self._connection
            if connection is None or connection.is_closed:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await aiormq.connect(self._address, context=self._tls)
                self._connection = connection
        async with asyncio.timeout(CALL_SECONDS):
            return await connection.channel(publisher_confirms=confirms)

    async def close(self) -> None:
        """End the connection; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await close_quietly(connection)


async def close_quietly(closable: AbstractConnection | AbstractChannel) -> None:
    """Close within a few seconds, whatever the peer does."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closable.close()
