"""Settings of ``state.mongodb``, and the URL they make; names as in Dapr."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from dapr_sidecar.components.metadata import SettingsError, setting

DEFAULT_SECONDS = 5.0


class ReadLevel(Enum):
    """MongoDB's read concerns."""

    AVAILABLE = "available"
    LOCAL = "local"
    LINEARIZABLE = "linearizable"
    MAJORITY = "majority"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoDbSettings:
    """Names and defaults of Dapr's MongoDB store."""

    connection_string: str = setting(
        "connectionString",
        default="",
        secret=True,
        help="mongodb:// URL; or say server, or host and what belongs to it",
    )
    server: str = setting("server", default="", help="name whose SRV record tells the members")
    host: str = setting("host", default="", help="host:port of the members, with commas")
    username: str = setting("username", default="", help="who logs in, with host")
    password: str = setting("password", default="", secret=True, help="password")
    params: str = setting(
        "params", default="", help="what follows in the URL, with its question mark"
    )
    database: str = setting("databaseName", default="daprStore", help="name of the database")
    collection: str = setting(
        "collectionName", default="daprCollection", help="name of the collection"
    )
    write_concern: str = setting(
        "writeconcern", default="", help="majority, a number of members or a tag"
    )
    read_concern: ReadLevel | None = setting("readconcern", default=None, help="what reads see")
    timeout: timedelta = setting(
        "operationTimeout",
        default=timedelta(seconds=DEFAULT_SECONDS),
        help="how long one operation may take",
    )


def url_of(settings: MongoDbSettings) -> str:
    """The URL for the client library. Raises ``SettingsError``."""
    if settings.connection_string:
        return settings.connection_string
    if settings.server and settings.host:
        raise SettingsError("invalid metadata field 'server': 'host' is given, too: use one")
    if settings.server:
        return f"mongodb+srv://{settings.server}/{settings.params}"
    if not settings.host:
        raise SettingsError(
            "missing required metadata field 'connectionString': or give 'host' or 'server'"
        )
    login = ""
    if settings.username and settings.password:
        pair = (settings.username, settings.password)
        login = ":".join(urllib.parse.quote(part, safe="") for part in pair) + "@"
    return f"mongodb://{login}{settings.host}/{settings.database}{settings.params}"


def shown_hosts(url: str) -> str:
    """The hosts of a URL, without who logs in."""
    return url.partition("://")[2].partition("?")[0].split("/")[0].rpartition("@")[2]
