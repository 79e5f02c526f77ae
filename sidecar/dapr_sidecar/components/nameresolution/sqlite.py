"""The ``sqlite`` resolver: sidecars of one machine register in a table they share."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import time
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_common.aio.host import join_host_port
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.components.sqlite.connection import Database, DatabaseError, transaction

_LOG = get_logger("dapr.contrib")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FRESH_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_MIGRATIONS, _CLEANUP = "nr-migrations", "nr-last-cleanup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteResolverSettings:
    """Settings of the resolver."""

    connection_string: str = setting("connectionString", help="path or file: URI")
    table: str = setting("tableName", default="hosts", help="table of the addresses")
    metadata_table: str = setting(
        "metadataTableName", default="metadata", help="table of the layout's version"
    )
    update_interval: timedelta = setting(
        "updateInterval",
        default=timedelta(seconds=5),
        help="how often an address is renewed",
    )
    cleanup_interval: timedelta = setting(
        "cleanupInterval",
        aliases=["cleanupIntervalInSeconds"],
        default=timedelta(hours=1),
        help="how often old addresses are deleted",
    )
    timeout: timedelta = setting(
        "timeout",
        aliases=["timeoutInSeconds"],
        default=timedelta(seconds=1),
        help="how long one operation may take",
    )
    busy_timeout: timedelta = setting(
        "busyTimeout",
        default=timedelta(milliseconds=800),
        duration_unit=0.001,
        help="how long to wait while another process writes",
    )
    disable_wal: bool = setting(
        "disableWAL", default=False, help="no write-ahead log: for network file systems"
    )

    def check(self) -> None:
        """Refuse what cannot work. Raises ``ValueError``."""
        for name, table in (("tableName", self.table), ("metadataTableName", self.metadata_table)):
            if not _IDENTIFIER.fullmatch(table):
                raise ValueError(f"invalid '{name}': '{table}': expected a plain identifier")
        interval = self.update_interval.total_seconds()
        if interval != int(interval):
            raise ValueError("invalid 'updateInterval': expected a whole number of seconds")
        if interval - self.timeout.total_seconds() < 1:
            raise ValueError(
                "invalid 'updateInterval': expected at least 1s more than 'timeout' "
                f"({self.timeout.total_seconds():g}s)"
            )


class SqliteResolver(Resolver):
    """Registrations are renewed while the sidecar lives and ignored once they are old."""

    settings = SqliteResolverSettings

    def __init__(self, settings: SqliteResolverSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        self._database = Database(
            settings.connection_string,
            busy_timeout=settings.busy_timeout.total_seconds(),
            timeout=settings.timeout.total_seconds(),
            wal=not settings.disable_wal,
        )
        self._id = str(uuid.uuid4())
        self._address = ""
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the database and bring its tables up to date."""
        self._options.check()
        await self._database.open()
        await self._database.run(self._migrate)
        self._spawn(self._clean_forever())

    async def register(self, instance: Instance) -> None:
        """Register this sidecar and keep the registration fresh."""
        self._address = join_host_port(instance.host_address, instance.internal_port)
        await self._database.run(lambda db: self._insert(db, instance.app_id))
        self._spawn(self._renew_forever(instance.app_id))

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """A random live registration. Lists are kept for a moment, to spare the disk."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(app_id)
        if known is None or now - known[0] > _FRESH_SECONDS or not known[1]:
            try:
                addresses = await self._database.run(lambda db: self._select(db, app_id))
            except (DatabaseError, TimeoutError) as error:
                raise LookupError(f"failed to look up '{app_id}': {error}") from error
            if not addresses:
                self._known.pop(app_id, None)
                raise LookupError("no host found with the given ID")
            known = self._known[app_id] = (now, addresses)
        return random.choice(known[1])  # noqa: S311 - spreads load

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        self._known.pop(app_id, None)

    async def withdraw(self) -> None:
        """Take the registration back."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._address:
            try:
                await self._database.run(self._delete)
            except (DatabaseError, TimeoutError) as error:
                _LOG.warning("the registration of this host could not be removed: %s", error)
            self._address = ""

    async def close(self) -> None:
        await self.withdraw()
        await self._database.close()

    # --- in the database's thread -----------------------------------------------------------

    def _migrate(self, db: sqlite3.Connection) -> None:
        table, metadata = self._options.table, self._options.metadata_table
        with transaction(db):
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {metadata} "
                "(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
            )
            row = db.execute(
                f"SELECT value FROM {metadata} WHERE key = ?",  # noqa: S608 - checked names
                (_MIGRATIONS,),
            ).fetchone()
            if row is not None and int(row[0]) >= 1:
                return
            db.execute(
                f"CREATE TABLE {table} (registration_id TEXT NOT NULL PRIMARY KEY, "
                "address TEXT NOT NULL, app_id TEXT NOT NULL, namespace TEXT NOT NULL, "
                "last_update INTEGER NOT NULL)"
            )
            db.execute(f"CREATE UNIQUE INDEX {table}_address_idx ON {table} (address)")
            db.execute(f"CREATE INDEX {table}_last_update_idx ON {table} (last_update)")
            db.execute(
                f"REPLACE INTO {metadata} (key, value) VALUES (?, '1')",  # noqa: S608
                (_MIGRATIONS,),
            )

    def _insert(self, db: sqlite3.Connection, app_id: str) -> None:
        db.execute(
            f"REPLACE INTO {self._options.table} "  # noqa: S608 - a checked name
            "(registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, '', ?)",
            (self._id, self._address, app_id, int(time.time())),
        )

    def _renew(self, db: sqlite3.Connection) -> bool:
        done = db.execute(
            f"UPDATE {self._options.table} SET last_update = ? "  # noqa: S608 - a checked name
            "WHERE registration_id = ? AND address = ?",
            (int(time.time()), self._id, self._address),
        )
        return done.rowcount > 0

    def _delete(self, db: sqlite3.Connection) -> None:
        db.execute(
            f"DELETE FROM {self._options.table} "  # noqa: S608 - a checked name
            "WHERE registration_id = ? AND address = ?",
            (self._id, self._address),
        )

    def _select(self, db: sqlite3.Connection, app_id: str) -> list[str]:
        oldest = int(time.time()) - int(self._options.update_interval.total_seconds())
        rows = db.execute(
            f"SELECT address FROM {self._options.table} "  # noqa: S608 - a checked name
            "WHERE app_id = ? AND last_update > ?",
            (app_id, oldest),
        )
        return [row[0] for row in rows]

    def _clean(self, db: sqlite3.Connection) -> None:
        metadata, table = self._options.metadata_table, self._options.table
        every = int(self._options.cleanup_interval.total_seconds())
        oldest = int(time.time()) - int(self._options.update_interval.total_seconds())
        with transaction(db):
            recent = db.execute(
                f"SELECT 1 FROM {metadata} WHERE key = ? "  # noqa: S608 - a checked name
                "AND strftime('%s', 'now') - strftime('%s', value) < ?",
                (_CLEANUP, every),
            ).fetchone()
            if recent is not None:
                return  # another sidecar has just done it
            db.execute(f"DELETE FROM {table} WHERE last_update < ?", (oldest,))  # noqa: S608
            db.execute(
                f"REPLACE INTO {metadata} (key, value) "  # noqa: S608 - a checked name
                "VALUES (?, CURRENT_TIMESTAMP)",
                (_CLEANUP,),
            )

    # --- in the background ------------------------------------------------------------------

    async def _renew_forever(self, app_id: str) -> None:
        options = self._options
        regular = (options.update_interval - options.timeout).total_seconds()
        pause = regular
        while True:
            await asyncio.sleep(pause)
            try:
                pause = regular
                if not await self._database.run(self._renew):
                    _LOG.error("Host registration lost; registering again")
                    await self._database.run(lambda db: self._insert(db, app_id))
            except (DatabaseError, TimeoutError) as error:
                _LOG.error("the registration of this host could not be renewed: %s", error)
                pause = min(regular, _RETRY_SECONDS)  # others take it for dead before long

    async def _clean_forever(self) -> None:
        every = self._options.cleanup_interval.total_seconds()
        if every <= 0:
            return
        while True:
            await asyncio.sleep(every)
            try:
                await self._database.run(self._clean)
            except (DatabaseError, TimeoutError) as error:
                _LOG.warning("old registrations could not be removed: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))
