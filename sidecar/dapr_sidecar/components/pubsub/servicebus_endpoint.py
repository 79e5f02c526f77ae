"""Where a namespace of Azure Service Bus is, and whether it answers there."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from functools import cache

import certifi

from dapr_common.words import is_truthy
from dapr_sidecar.components.pubsub.servicebus_settings import ServiceBusSettings

_PORT, _PLAIN_PORT = 5671, 5672
# What each side of an AMQP 1.0 connection says first, where SASL comes next.
_GREETING = b"AMQP\x03\x01\x00\x00"


@cache
def _trust() -> ssl.SSLContext:
    """Read once: pings come all the time."""
    return ssl.create_default_context(cafile=certifi.where())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the client library connects to. ``shown`` is the place without any secret."""

    shown: str
    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, settings: ServiceBusSettings) -> Endpoint:
        """From the connection string, which also has a key, or from the namespace's name."""
        words = {}
        for part in settings.connection_string.split(";"):
            name, _, value = part.partition("=")
            words[name.strip().lower()] = value.strip()
        shown = words.get("endpoint", settings.namespace).rpartition("://")[2].rstrip("/")
        host, _, port = shown.partition(":")
        if is_truthy(words.get("usedevelopmentemulator", "")):
            return cls(shown, host, int(port) if port.isdigit() else _PLAIN_PORT, False)
        return cls(shown, host, _PORT, True)

    async def greet(self) -> None:
        """Exchange greetings on a connection of its own, as the cheapest sign of life there is:
        no link and no message, so nothing that is billed or needs a right.

        Raises ``ConnectionError`` that says where. Deadlines are the caller's.
        """
        tls = _trust() if self.secure else None
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=tls)
            try:
                writer.write(_GREETING)
                answer = await reader.readexactly(len(_GREETING))
            finally:
                writer.transport.abort()
        except (OSError, EOFError) as error:
            raise ConnectionError(
                f"Service Bus at {self.shown} cannot be reached: {error}"
            ) from error
        if not answer.startswith(b"AMQP"):
            raise ConnectionError(f"what answers at {self.shown} is no Service Bus")
