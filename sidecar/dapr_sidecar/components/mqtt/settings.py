"""Where an MQTT broker is, and how we speak to it; names as in Dapr."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context

_PLAIN = {"tcp": 1883, "mqtt": 1883, "ws": 80}
_TLS = {"ssl": 8883, "tls": 8883, "mqtts": 8883, "tcps": 8883, "wss": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """What every MQTT component takes."""

    url: str = setting("url", secret=True, help="mqtt://user:password@host:port")
    consumer_id: str = setting(
        "consumerID", default="", help="client id, which the broker keeps the session under"
    )
    qos: int = setting("qos", default=1, help="0, 1 or 2: how sure a delivery is")
    retain: bool = setting("retain", default=False, help="the broker keeps the last message")
    clean_session: bool = setting(
        "cleanSession", default=False, help="the broker forgets us when the connection ends"
    )
    ca_cert: str = setting("caCert", default="", help="authorities of the broker, PEM")
    client_cert: str = setting("clientCert", default="", help="certificate of this client, PEM")
    client_key: str = setting("clientKey", default="", secret=True, help="its key, PEM")

    def server(self) -> MqttServer:
        """Raises ``SettingsError``."""
        if self.qos not in (0, 1, 2):
            raise SettingsError("invalid metadata field 'qos': expected 0, 1 or 2")
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            parts, port = SplitResult("", "", "", "", ""), None
        known = _PLAIN | _TLS
        if parts.scheme not in known or not parts.hostname:
            raise SettingsError(
                "invalid metadata field 'url': expected mqtt://host:port or mqtts://host:port"
            )
        return MqttServer(
            host=parts.hostname,
            port=port or known[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            transport="websockets" if parts.scheme in ("ws", "wss") else "tcp",
            path=parts.path or None,
            tls=self._tls() if parts.scheme in _TLS else None,
        )

    def _tls(self) -> ssl.SSLContext:
        return client_context(ca=self.ca_cert, certificate=self.client_cert, key=self.client_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttServer:
    """What a connection needs."""

    host: str
    port: int
    username: str | None
    password: str | None
    transport: Literal["tcp", "websockets"]
    path: str | None
    tls: ssl.SSLContext | None
