"""Settings of everything that speaks to Kafka; names as in Dapr."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from dapr_sidecar.components.kafka.tokens import ClientCredentials
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pem import client_context

_MILLISECONDS = 0.001
_MAX_MESSAGE_BYTES = 1 << 20
_NEVER_MS = 2**31 - 1


class AuthType(Enum):
    """How the brokers know who we are."""

    NONE = "none"
    PASSWORD = "password"  # noqa: S105 - the word of the manifest
    MTLS = "mtls"
    CERTIFICATE = "certificate"
    OIDC = "oidc"
    OIDC_PRIVATE_KEY_JWT = "oidc_private_key_jwt"
    AWS_IAM = "awsiam"


class InitialOffset(Enum):
    """Where a group begins that has no position yet."""

    NEWEST = "newest"
    OLDEST = "oldest"


class SaslMechanism(Enum):
    """How a password is proven."""

    PLAINTEXT = "PLAINTEXT"
    SHA_256 = "SHA-256"
    SHA_512 = "SHA-512"


class Rebalance(Enum):
    """How a group shares partitions."""

    RANGE = "range"
    STICKY = "sticky"
    ROUND_ROBIN = "roundrobin"


class Compression(Enum):
    """How records are packed."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class RequiredAcks(Enum):
    """Whose word a producer waits for."""

    ALL = "all"
    ONE = "1"
    NONE = "0"


_ASSIGNORS = {
    Rebalance.RANGE: RangePartitionAssignor,
    Rebalance.STICKY: StickyPartitionAssignor,
    Rebalance.ROUND_ROBIN: RoundRobinPartitionAssignor,
}
_MECHANISMS = {
    SaslMechanism.PLAINTEXT: "PLAIN",
    SaslMechanism.SHA_256: "SCRAM-SHA-256",
    SaslMechanism.SHA_512: "SCRAM-SHA-512",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Bare numbers of durations are seconds, of ``consumeRetryInterval`` milliseconds."""

    brokers: tuple[str, ...] = setting("brokers", help="host:port, several with commas")
    auth_type: AuthType = setting("authType", help="how the brokers know who we are")
    consumer_group: str = setting("consumerGroup", default="", help="the group; consumerID")
    client_id: str = setting("clientID", default="sarama", help="what the brokers call us")
    initial_offset: InitialOffset = setting(
        "initialOffset", default=InitialOffset.NEWEST, help="where a new group begins"
    )
    max_message_bytes: int = setting(
        "maxMessageBytes", default=_MAX_MESSAGE_BYTES, help="largest message that is published"
    )
    retry_interval: timedelta = setting(
        "consumeRetryInterval",
        default=timedelta(milliseconds=100),
        duration_unit=_MILLISECONDS,
        help="pause before a failed message is delivered again",
    )
    heartbeat_interval: timedelta = setting(
        "heartbeatInterval", default=timedelta(seconds=3), help="how often members show life"
    )
    session_timeout: timedelta = setting(
        "sessionTimeout", default=timedelta(seconds=10), help="when a silent member is gone"
    )
    version: str = setting(
        "version", default="2.0.0.0", help="accepted; the brokers are asked what they speak"
    )
    skip_verify: bool = setting("skipVerify", default=False, help="take any certificate")
    disable_tls: bool = setting("disableTls", default=False, help="no TLS; none at authType none")
    ca_cert: str = setting("caCert", default="", help="authorities of the brokers, PEM")
    client_cert: str = setting("clientCert", default="", help="certificate of this client, PEM")
    client_key: str = setting("clientKey", default="", secret=True, help="its key, PEM")
    sasl_username: str = setting("saslUsername", default="", help="user, at authType password")
    sasl_password: str = setting("saslPassword", default="", secret=True, help="its password")
    sasl_mechanism: SaslMechanism = setting(
        "saslMechanism", default=SaslMechanism.PLAINTEXT, help="how the password is proven"
    )
    token_endpoint: str = setting("oidcTokenEndpoint", default="", help="where tokens come from")
    oidc_client: str = setting("oidcClientID", default="", help="client at the identity provider")
    oidc_secret: str = setting("oidcClientSecret", default="", secret=True, help="its secret")
    oidc_scopes: str = setting("oidcScopes", default="openid", help="scopes, with commas")
    oidc_extensions: str = setting(
        "oidcExtensions", default="", help="JSON object that the brokers get with the token"
    )
    buffer_size: int = setting(
        "channelBufferSize", default=256, help="messages of a partition read ahead"
    )
    fetch_min: int = setting("consumerFetchMin", default=1, help="fewest bytes of an answer")
    fetch_default: int = setting(
        "consumerFetchDefault", default=1 << 20, help="most bytes of a partition in an answer"
    )
    refresh_interval: timedelta = setting(
        "clientConnectionTopicMetadataRefreshInterval",
        default=timedelta(minutes=8),
        help="how often the brokers are asked where topics are",
    )
    keep_alive: timedelta = setting(
        "clientConnectionKeepAliveInterval",
        default=timedelta(0),
        help="accepted; idle connections are kept",
    )
    dial_timeout: timedelta = setting(
        "dialTimeout", default=timedelta(seconds=30), help="accepted; readTimeout covers it"
    )
    read_timeout: timedelta = setting(
        "readTimeout", default=timedelta(seconds=30), help="how long to wait for an answer"
    )
    write_timeout: timedelta = setting(
        "writeTimeout", default=timedelta(seconds=30), help="accepted; readTimeout covers it"
    )
    metadata_timeout: timedelta = setting(
        "metadataTimeout", default=timedelta(0), help="accepted; readTimeout covers it"
    )
    required_acks: RequiredAcks = setting(
        "producerRequiredAcks", default=RequiredAcks.ALL, help="all, 1 or 0 brokers have it"
    )
    retry_max: int = setting(
        "producerRetryMax", default=5, help="accepted; publishing is tried until readTimeout"
    )
    compression: Compression = setting(
        "compression", default=Compression.NONE, help="how records are packed"
    )
    rebalance: Rebalance = setting(
        "consumerGroupRebalanceStrategy", default=Rebalance.RANGE, help="how partitions are shared"
    )
    exclude_headers: re.Pattern[str] | None = setting(
        "excludeHeaderMetaRegex",
        default=None,
        parse=lambda text: _pattern(text) if text else None,
        help="metadata whose name matches becomes no header",
    )
    escape_headers: bool = setting(
        "escapeHeaders", default=False, help="the app gets header values as in a URL's query"
    )
    schema_registry: str = setting(
        "schemaRegistryURL", default="", help="not available: must be empty"
    )

    def check(self) -> None:
        """Raises ``SettingsError`` for what does not go together."""
        if not self.brokers:
            raise SettingsError("missing required metadata field 'brokers'")
        if self.schema_registry:
            raise SettingsError(
                "metadata field 'schemaRegistryURL': schemas are not available; publish bytes"
            )
        for name in self._needed():
            raise SettingsError(
                f"missing required metadata field '{name}': authType is {self.auth_type.value}"
            )

    def _needed(self) -> list[str]:
        kind = self.auth_type
        if kind in (AuthType.AWS_IAM, AuthType.OIDC_PRIVATE_KEY_JWT):
            raise SettingsError(f"metadata field 'authType': {kind.value} is not available yet")
        wanted: dict[str, str] = {}
        if kind is AuthType.PASSWORD:
            wanted = {"saslUsername": self.sasl_username, "saslPassword": self.sasl_password}
        elif kind is AuthType.OIDC:
            wanted = {
                "oidcTokenEndpoint": self.token_endpoint,
                "oidcClientID": self.oidc_client,
                "oidcClientSecret": self.oidc_secret,
            }
        elif kind in (AuthType.MTLS, AuthType.CERTIFICATE):
            wanted = {"clientCert": self.client_cert, "clientKey": self.client_key}
        return [name for name, value in wanted.items() if not value]

    def connection(self) -> dict[str, Any]:
        """What the library wants to know of both, producers and consumers."""
        tls = not self.disable_tls and self.auth_type is not AuthType.NONE
        sasl = self.auth_type in (AuthType.PASSWORD, AuthType.OIDC)
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": self.client_id,
            "request_timeout_ms": milliseconds(self.read_timeout) or 30_000,
            "metadata_max_age_ms": milliseconds(self.refresh_interval) or 480_000,
            "security_protocol": ("SASL_" if sasl else "") + ("SSL" if tls else "PLAINTEXT"),
        }
        if found["security_protocol"].startswith("SASL_PLAIN"):
            found["security_protocol"] = "SASL_PLAINTEXT"
        if tls:
            found["ssl_context"] = client_context(
                ca=self.ca_cert,
                certificate=self.client_cert,
                key=self.client_key,
                verify=not self.skip_verify,
            )
        if self.auth_type is AuthType.PASSWORD:
            found["sasl_mechanism"] = _MECHANISMS[self.sasl_mechanism]
            found["sasl_plain_username"] = self.sasl_username
            found["sasl_plain_password"] = self.sasl_password
        elif self.auth_type is AuthType.OIDC:
            found["sasl_mechanism"] = "OAUTHBEARER"
            found["sasl_oauth_token_provider"] = ClientCredentials(
                self.token_endpoint,
                self.oidc_client,
                self.oidc_secret,
                self.oidc_scopes,
                self.oidc_extensions,
            )
        return found

    def consuming(self, group: str) -> dict[str, Any]:
        """What the library wants to know of a consumer."""
        oldest = self.initial_offset is InitialOffset.OLDEST
        return {
            **self.connection(),
            "group_id": group,
            "auto_offset_reset": "earliest" if oldest else "latest",
            "enable_auto_commit": False,
            "heartbeat_interval_ms": milliseconds(self.heartbeat_interval),
            "session_timeout_ms": milliseconds(self.session_timeout),
            "rebalance_timeout_ms": 60_000,
            # A message that is tried again for hours must not cost the membership.
            "max_poll_interval_ms": _NEVER_MS,
            "fetch_min_bytes": self.fetch_min,
            "max_partition_fetch_bytes": self.fetch_default,
            "partition_assignment_strategy": (_ASSIGNORS[self.rebalance],),
        }


def milliseconds(duration: timedelta) -> int:
    """A duration as the library wants it."""
    return int(duration.total_seconds() * 1000)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
