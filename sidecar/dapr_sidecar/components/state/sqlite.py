"""``state.sqlite``: Dapr's table layout in a local database file."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.sqlite.connection import Database, DatabaseError, transaction
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    Json,
    SetRequest,
    StateStore,
    TransactionOperation,
)

_LOG = get_logger("dapr.contrib.state.sqlite")
_DEFAULT_SECONDS = 20.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIVE = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteStateSettings:
    """Names and defaults of Dapr's SQLite store."""

    connection_string: str = setting(
        "connectionString", aliases=("url",), help="path of the database file, or a file: URI"
    )
    table: str = setting("tableName", default="state", help="table of the data")
    metadata_table: str = setting(
        "metadataTableName", default="metadata", help="table of the layout's version"
    )
    timeout: timedelta = setting(
        "timeout",
        aliases=("timeoutInSeconds",),
        default=timedelta(seconds=20),
        help="how long one operation may take",
    )
    busy_timeout: timedelta = setting(
        "busyTimeout",
        default=timedelta(seconds=2),
        help="how long to wait while another process writes",
    )
    disable_wal: bool = setting(
        "disableWAL", default=False, help="no write-ahead log: for network file systems"
    )
    cleanup_interval: timedelta = setting(
        "cleanupInterval",
        aliases=("cleanupIntervalInSeconds",),
        default=timedelta(0),
        help="how often expired rows are deleted; 0 never",
    )


class SqliteStateStore(StateStore):
    """One table; a random uuid per write as etag."""

    settings: ClassVar[type[Any]] = SqliteStateSettings
    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE})
    feature_order = (Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE)

    def __init__(self, settings: SqliteStateSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        for field, name in (
            ("tableName", settings.table),
            ("metadataTableName", settings.metadata_table),
        ):
            if not _NAME.fullmatch(name):
                raise SettingsError(
                    f"invalid metadata field '{field}': '{name}': expected letters, digits and _"
                )
        self._table = settings.table
        self._metadata_table = settings.metadata_table
        self._cleanup = settings.cleanup_interval.total_seconds()
        self._database = Database(
            settings.connection_string,
            busy_timeout=settings.busy_timeout.total_seconds(),
            timeout=settings.timeout.total_seconds() or _DEFAULT_SECONDS,
            wal=not settings.disable_wal,
        )
        self._cleaner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._database.open()
        await self._database.run(self._migrate)
        if self._cleanup > 0:
            self._cleaner = asyncio.create_task(self._clean_up(), name="sqlite-cleanup")

    async def close(self) -> None:
        cleaner, self._cleaner = self._cleaner, None
        if cleaner is not None:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
        await self._database.close()

    async def ping(self) -> None:
        await self._database.run(lambda db: db.execute("SELECT 1").fetchone())

    async def get(self, request: GetRequest) -> GetResponse:
        sql = (
            f"SELECT value, is_binary, etag, expiration_time FROM {self._table} "  # noqa: S608
            f"WHERE key = ? AND {_LIVE}"
        )
        row = await self._database.run(lambda db: db.execute(sql, (request.key,)).fetchone())
        return GetResponse() if row is None else _response(row)

    async def set(self, request: SetRequest) -> None:
        await self._database.run(lambda db: self._set(db, request))

    async def delete(self, request: DeleteRequest) -> None:
        await self._database.run(lambda db: self._delete(db, request))

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """One query; found rows first, then the missing ones."""
        if not requests:
            return []
        keys = [request.key for request in requests]

        def fetch(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows: list[tuple[Any, ...]] = []
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                sql = (
                    f"SELECT key, value, is_binary, etag, expiration_time FROM {self._table} "  # noqa: S608
                    f"WHERE key IN ({marks}) AND {_LIVE}"
                )
                rows += db.execute(sql, part).fetchall()
            return rows

        items: list[BulkGetItem] = []
        seen: set[str] = set()
        for key, *rest in await self._database.run(fetch):
            found = _response(tuple(rest))
            seen.add(key)
            items.append(BulkGetItem(key, found.data, found.etag, found.metadata))
        items += [BulkGetItem(key) for key in keys if key not in seen]
        return items

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing; nothing when the caller has gone before the database could be had."""
        gone = False

        def apply(db: sqlite3.Connection) -> None:
            with transaction(db):
                for operation in operations:
                    if isinstance(operation, SetRequest):
                        self._set(db, operation)
                    else:
                        self._delete(db, operation)
                if gone:  # who gave up may have lost the right to write: see the actors' fence
                    raise DatabaseError("nobody waits for this transaction any more")

        try:
            await self._database.run(apply)
        except (asyncio.CancelledError, TimeoutError):
            gone = True
            raise

    # --- in the database's thread -----------------------------------------------------------

    def _migrate(self, db: sqlite3.Connection) -> None:
        with transaction(db):
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._metadata_table} "
                "(key text NOT NULL PRIMARY KEY, value text NOT NULL)"
            )
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT NOT NULL PRIMARY KEY, "
                "value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL, "
                "expiration_time TIMESTAMP DEFAULT NULL, "
                "update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            db.execute(
                f"INSERT OR IGNORE INTO {self._metadata_table} (key, value) "  # noqa: S608
                "VALUES ('migrations', '1')"
            )

    def _set(self, db: sqlite3.Connection, request: SetRequest) -> None:
        value, binary = _stored(request)
        expiry = _expiry(request.metadata)
        row = {
            "key": request.key,
            "value": value,
            "binary": binary,
            "etag": str(uuid.uuid4()),
            "ttl": expiry,
        }
        expires = "CASE WHEN :ttl IS NULL THEN NULL ELSE DATETIME(CURRENT_TIMESTAMP, :ttl) END"
        whole_row = (
            f"INTO {self._table} (key, value, is_binary, etag, expiration_time, update_time) "
            f"VALUES (:key, :value, :binary, :etag, {expires}, CURRENT_TIMESTAMP)"
        )
        if request.etag:
            done = db.execute(
                f"UPDATE {self._table} SET value = :value, is_binary = :binary, etag = :etag, "  # noqa: S608
                f"update_time = CURRENT_TIMESTAMP, expiration_time = {expires} "
                f"WHERE key = :key AND etag = :expected AND {_LIVE}",
                {**row, "expected": request.etag},
            ).rowcount
        elif request.concurrency == "first-write":
            # An expired row counts as absent.
            done = db.execute(
                f"INSERT {whole_row} ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
                "is_binary = excluded.is_binary, etag = excluded.etag, "
                "update_time = CURRENT_TIMESTAMP, expiration_time = excluded.expiration_time "
                f"WHERE NOT ({self._table}.expiration_time IS NULL "
                f"OR {self._table}.expiration_time > CURRENT_TIMESTAMP)",
                row,
            ).rowcount
        else:
            done = db.execute(f"REPLACE {whole_row}", row).rowcount
        if done == 0:
            raise EtagError("no item was updated")

    def _delete(self, db: sqlite3.Connection, request: DeleteRequest) -> None:
        if not request.etag:
            db.execute(f"DELETE FROM {self._table} WHERE key = ?", (request.key,))  # noqa: S608
            return
        done = db.execute(
            f"DELETE FROM {self._table} WHERE key = ? AND etag = ? AND {_LIVE}",  # noqa: S608
            (request.key, request.etag),
        ).rowcount
        if done == 0:
            raise EtagError("no item was deleted")

    async def _clean_up(self) -> None:
        sql = (
            f"DELETE FROM {self._table} WHERE expiration_time IS NOT NULL "  # noqa: S608
            "AND expiration_time <= CURRENT_TIMESTAMP"
        )
        while True:
            await asyncio.sleep(self._cleanup)
            try:
                await self._database.run(lambda db: db.execute(sql).rowcount)
            except Exception as error:  # noqa: BLE001 - tried again at the next interval
                _LOG.warning("expired rows could not be removed: %s", error)


def _stored(request: SetRequest) -> tuple[str, int]:
    if isinstance(request.value, Json):
        return encoding.plain(request.value).decode(), 0
    return base64.b64encode(request.value).decode(), 1


def _response(row: tuple[Any, ...]) -> GetResponse:
    value, binary, etag, expiry = row
    data = base64.b64decode(value) if binary else str(value).encode()
    metadata = {"ttlExpireTime": str(expiry).replace(" ", "T") + "Z"} if expiry else {}
    return GetResponse(data, etag, metadata)


def _expiry(metadata: Mapping[str, str]) -> str | None:
    seconds = encoding.sql_ttl_seconds(metadata)
    return None if seconds is None else f"+{seconds} seconds"
