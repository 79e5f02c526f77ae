"""Connection settings that all PostgreSQL components share."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from dapr_common.durations import parse_go_duration
from dapr_sidecar.components.aws.settings import AwsIdentity
from dapr_sidecar.components.azure.settings import AzureSettings
from dapr_sidecar.components.metadata import SettingsError, setting

_WORD = re.compile(r"\s*([A-Za-z_]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)")
_MANY_CONNECTIONS = 1000


class QueryExecMode(Enum):
    """How pgx, the library of the Go sidecar, sends statements."""

    CACHE_STATEMENT = "cache_statement"
    CACHE_DESCRIBE = "cache_describe"
    DESCRIBE_EXEC = "describe_exec"
    EXEC = "exec"
    SIMPLE_PROTOCOL = "simple_protocol"


@dataclass(frozen=True, kw_only=True)
class PostgresSettings(AzureSettings, AwsIdentity):
    """Names and defaults as in Dapr's PostgreSQL components."""

    connection_string: str = setting(
        "connectionString",
        default="",
        secret=True,
        help="key=value words or a postgresql:// URL; or say host, user and so on",
    )
    host: str = setting("host", default="", help="name of the server")
    hostaddr: str = setting("hostaddr", default="", help="address of the server, instead of host")
    port: str = setting("port", default="", help="port of the server")
    database: str = setting("database", default="", help="name of the database")
    user: str = setting("user", default="", help="who logs in")
    password: str = setting("password", default="", secret=True, help="password")
    ssl_root_cert: str = setting(
        "sslRootCert", default="", help="file with the certificates that vouch for the server"
    )
    timeout: timedelta = setting(
        "timeout",
        aliases=("timeoutInSeconds",),
        default=timedelta(seconds=20),
        help="how long one operation may take",
    )
    max_connections: int = setting(
        "maxConns", default=0, help="largest number of connections; 0 for a default"
    )
    max_idle_time: timedelta = setting(
        "connectionMaxIdleTime",
        default=timedelta(0),
        help="how long a connection is kept without work; 0 for a default",
    )
    query_exec_mode: QueryExecMode = setting(
        "queryExecMode",
        default=QueryExecMode.CACHE_STATEMENT,
        help="anything but cache_statement prepares nothing: for PgBouncer and its like",
    )
    use_azure_ad: bool = setting(
        "useAzureAD", default=False, help="log in with a token of Microsoft Entra ID"
    )
    use_aws_iam: bool = setting("useAWSIAM", default=False, help="log in with a token of AWS IAM")


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Where to connect and how. ``url`` holds the password: never show it."""

    url: str
    shown: str
    """Where this leads, for messages."""
    connect_timeout: float | None
    """Seconds; none when the connection string does not say."""
    max_connections: int
    """0 when nobody says."""
    max_idle_seconds: float
    user: str


def connection_info(settings: PostgresSettings) -> ConnectionInfo:
    """Put the connection string and the single fields together. Raises ``SettingsError``."""
    if settings.use_azure_ad and settings.use_aws_iam:
        raise SettingsError("invalid metadata field 'useAWSIAM': 'useAzureAD' is on, too: use one")
    words = _parse(settings.connection_string)
    words.update(_given(settings))
    if "host" not in words and "hostaddr" not in words:
        raise SettingsError(
            "missing required metadata field 'connectionString': "
            "expected 'host=... user=... dbname=...' or postgresql://user@host/database"
        )
    if hostaddr := words.pop("hostaddr", ""):
        words["host"] = hostaddr
    pool_size = _number(words.pop("pool_max_conns", "0"), "pool_max_conns")
    idle = _seconds(words.pop("pool_max_conn_idle_time", ""), "pool_max_conn_idle_time")
    timeout = _number(words.pop("connect_timeout", "0"), "connect_timeout")
    for name in list(words):  # of pgx, the Go sidecar's library, and without meaning here
        if name.startswith(("pool_", "statement_cache_")) or name == "default_query_exec_mode":
            del words[name]
    shown = f"{words['host']}:{words.get('port', '5432')}"
    return ConnectionInfo(
        "postgresql://?" + urllib.parse.urlencode(words, quote_via=urllib.parse.quote),
        shown,
        float(timeout) or None,
        _bounded(settings.max_connections or pool_size),
        settings.max_idle_time.total_seconds() or idle,
        words.get("user", ""),
    )


def _given(settings: PostgresSettings) -> Mapping[str, str]:
    fields = {
        "host": settings.host,
        "hostaddr": settings.hostaddr,
        "port": settings.port,
        "dbname": settings.database,
        "user": settings.user,
        "password": settings.password,
        "sslrootcert": settings.ssl_root_cert,
    }
    return {name: value for name, value in fields.items() if value}


def _bounded(connections: int) -> int:
    if not 0 <= connections <= _MANY_CONNECTIONS:
        raise SettingsError(
            f"invalid metadata field 'maxConns': '{connections}': "
            f"expected a number from 0 to {_MANY_CONNECTIONS}"
        )
    return connections


def _parse(text: str) -> dict[str, str]:
    """The words of libpq in either notation."""
    if text.startswith(("postgres://", "postgresql://")):
        return _parse_url(text)
    words: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip()):
        found = _WORD.match(text, position)
        if found is None:
            raise _wrong(f"key=value is expected at character {position + 1}")
        value = found[2]
        if value.startswith("'"):
            value = value[1:-1]
        words[found[1]] = re.sub(r"\\(.)", r"\1", value)
        position = found.end()
    return words


def _parse_url(text: str) -> dict[str, str]:
    # Not by urlsplit: libpq's URLs may name several hosts, and not every Python takes IPv6 there.
    place, _, query = text.partition("://")[2].partition("?")
    authority, _, database = place.partition("/")
    try:
        words = dict(urllib.parse.parse_qsl(query, strict_parsing=bool(query)))
    except ValueError as error:
        raise _wrong(f"it is no URL: {error}") from None
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    places = [_split_host(place) for place in hosts.split(",") if place]
    parts = {
        "user": urllib.parse.unquote(user),
        "password": urllib.parse.unquote(password),
        "host": ",".join(host for host, _ in places),
        "port": ",".join(port or "5432" for _, port in places),
        "dbname": urllib.parse.unquote(database.lstrip("/")),
    }
    return {**{name: value for name, value in parts.items() if value}, **words}


def _split_host(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        if not closed:
            raise _wrong(f"it is no URL: '{place}' has no closing bracket")
        return host, rest.removeprefix(":")
    host, _, port = place.partition(":")
    return urllib.parse.unquote(host), port


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise _wrong(f"{name} must be a whole number")
    return int(text)


def _seconds(text: str, name: str) -> float:
    try:
        return parse_go_duration(text).total_seconds() if text else 0.0
    except ValueError as error:
        raise _wrong(f"{name}: {error}") from None


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"invalid metadata field 'connectionString': {what}")
