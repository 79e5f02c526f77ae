"""Connection settings that all Redis components share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import timedelta

from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import load_pair

_MILLISECONDS = 0.001


def _of_pool(name: str) -> str:
    """A field of the connection pool that Dapr has; the client here has none to set up."""
    text: str = setting(name, default="", help="accepted; commands share one connection")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Names as in Dapr's Redis components; bare numbers of durations are seconds."""

    host: str = setting(
        "redisHost",
        help="host:port; with commas, of sentinels when failover is on, or of a cluster's nodes",
    )
    port: str = setting("redisPort", default="", help="port when redisHost has none")
    username: str = setting("redisUsername", default="", help="ACL user; empty for the default")
    password: str = setting("redisPassword", default="", secret=True, help="password")
    database: int = setting("redisDB", default=0, help="number of the database")
    type: str = setting(
        "redisType",
        default="node",
        help="node, or cluster (state stores, locks and bindings can use one)",
    )
    enable_tls: bool = setting("enableTLS", default=False, help="connect with TLS")
    insecure_skip_verify: bool = setting(
        "insecureSkipTLSVerify", default=False, help="take any certificate of the server"
    )
    client_cert: str = setting("clientCert", default="", help="certificate of this client, PEM")
    client_key: str = setting("clientKey", default="", secret=True, help="its key, PEM")
    failover: bool = setting(
        "failover", default=False, help="redisHost names sentinels: ask them for the server"
    )
    sentinel_master_name: str = setting(
        "sentinelMasterName", default="", help="what the sentinels call the server"
    )
    sentinel_username: str = setting("sentinelUsername", default="", help="user at the sentinels")
    sentinel_password: str = setting(
        "sentinelPassword", default="", secret=True, help="password at the sentinels"
    )
    max_retries: int = setting(
        "redisMaxRetries",
        aliases=("maxRetries",),
        default=3,
        help="further attempts to connect",
    )
    min_retry_interval: timedelta = setting(
        "redisMinRetryInterval",
        default=timedelta(milliseconds=8),
        duration_unit=_MILLISECONDS,
        help="first pause between attempts to connect",
    )
    max_retry_interval: timedelta = setting(
        "redisMaxRetryInterval",
        aliases=("maxRetryBackoff",),
        default=timedelta(milliseconds=512),
        duration_unit=_MILLISECONDS,
        help="longest pause between attempts to connect",
    )
    dial_timeout: timedelta = setting(
        "dialTimeout", default=timedelta(seconds=5), help="how long connecting may take"
    )
    read_timeout: timedelta = setting(
        "readTimeout", default=timedelta(seconds=3), help="how long to wait for an answer"
    )
    write_timeout: timedelta = setting(
        "writeTimeout",
        default=timedelta(seconds=3),
        help="accepted; readTimeout covers sending, too",
    )

    use_entra_id: bool = setting(
        "useEntraID", default=False, help="refused when on: there is no login with Entra ID yet"
    )
    pool_size: str = _of_pool("poolSize")
    pool_timeout: str = _of_pool("poolTimeout")
    min_idle_connections: str = _of_pool("minIdleConns")
    max_connection_age: str = _of_pool("maxConnAge")
    idle_timeout: str = _of_pool("idleTimeout")
    idle_check_frequency: str = _of_pool("idleCheckFrequency")

    def __post_init__(self) -> None:
        if self.use_entra_id:
            raise SettingsError(
                "invalid metadata field 'useEntraID': Redis is not logged in to with Microsoft "
                "Entra ID yet: turn it off and set redisPassword"
            )

    def address(self) -> tuple[str, int]:
        """Host and port. Raises ``SettingsError``."""
        return self._parse(self.host)

    def sentinels(self) -> list[tuple[str, int]]:
        """The sentinels to ask for the server; none without failover. Raises ``SettingsError``."""
        if not self.failover:
            return []
        if not self.sentinel_master_name:
            raise SettingsError(
                "missing required metadata field 'sentinelMasterName': failover is on"
            )
        return [self._parse(one.strip()) for one in self.host.split(",") if one.strip()]

    def _parse(self, text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        if not host or "]" in port:
            host, port = text, self.port or "6379"
        try:
            return host.strip("[]"), int(port)
        except ValueError:
            raise SettingsError(
                f"invalid metadata field 'redisHost': '{text}': expected host:port"
            ) from None

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, or ``None`` for plain TCP."""
        if not self.enable_tls:
            return None
        context = ssl.create_default_context()
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert and self.client_key:
            load_pair(context, self.client_cert, self.client_key, ("clientCert", "clientKey"))
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class LongPauseRedisSettings(RedisSettings):
    """The same for locks and configuration, whose pauses between attempts grow longer."""

    max_retry_interval: timedelta = setting(
        "redisMaxRetryInterval",
        aliases=("maxRetryBackoff",),
        default=timedelta(seconds=2),
        duration_unit=_MILLISECONDS,
        help="longest pause between attempts to connect",
    )
