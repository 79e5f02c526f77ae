"""Where a RabbitMQ broker is, and who we are to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from yarl import URL

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.pem import client_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What a connection needs; both kinds of components make it from their metadata."""

    url: str
    field: str
    """The metadata field that the address came from, for error texts."""
    heartbeat_seconds: int = 10
    client_name: str = ""
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    sasl_external: bool = False

    def address(self) -> URL:
        """The address with what the client library reads from it. Raises ``SettingsError``."""
        try:
            url = URL(self.url)
        except ValueError:
            url = URL()
        if url.scheme not in ("amqp", "amqps") or not url.host:
            raise SettingsError(
                f"invalid metadata field '{self.field}': expected amqp://user:password@host:port"
            )
        query = {"heartbeat": str(max(self.heartbeat_seconds, 1))}
        if self.client_name:
            query["name"] = self.client_name
        if self.sasl_external:
            query["auth"] = "external"
        return url.update_query(query)

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context of ``amqps``. Raises ``SettingsError``."""
        if self.address().scheme != "amqps":
            return None
        return client_context(ca=self.ca_cert, certificate=self.client_cert, key=self.client_key)
