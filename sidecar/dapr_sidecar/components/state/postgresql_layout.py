"""Tables of the PostgreSQL state stores and the statements that use them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from dapr_sidecar.components.postgresql.pool import MADE_BY_ANOTHER, Connection


@dataclass(frozen=True, slots=True)
class Statements:
    """SQL of one layout; parameters are the key, the value columns, the seconds to live."""

    get: str
    bulk_get: str
    upsert: str
    first_write: str
    update: str
    delete: str
    delete_etag: str
    bulk_set: str
    bulk_delete: str
    delete_expired: str
    claim_cleanup: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the two layouts differ in."""

    table: str
    metadata_table: str
    columns: tuple[tuple[str, str], ...]
    """Columns of the value, with their types."""
    binary: str
    """An expression that is true for values that are bytes."""
    etag: str
    etag_type: str
    new_etag: str
    """What an update assigns besides; empty when the database makes the etag."""
    updated: str
    expires: str
    migration_key: str
    cleanup_key: str
    migrations: tuple[tuple[str, ...], ...]
    """Statements of each level, from the first."""

    @property
    def is_live(self) -> str:
        return f"({self.expires} IS NULL OR {self.expires} > CURRENT_TIMESTAMP)"

    @property
    def selected(self) -> str:
        """The columns that reads return."""
        return (
            f"key, value, {self.binary} AS bin, {self.etag}::text AS etag, "
            f"{self.expires} AS expires"
        )

    def statements(self) -> Statements:
        """The SQL. Names in it were checked to be names."""
        table, live = self.table, self.is_live
        names = ", ".join(name for name, _ in self.columns)
        after = len(self.columns) + 2
        marks = ", ".join(f"${n}::{kind}" for n, (_, kind) in enumerate(self.columns, 2))
        until = f"CURRENT_TIMESTAMP + make_interval(secs => ${after}::float8)"
        insert = f"INSERT INTO {table} (key, {names}, {self.expires})"
        changes = (
            ", ".join(f"{name} = EXCLUDED.{name}" for name, _ in self.columns)
            + f", {self.expires} = EXCLUDED.{self.expires}, {self.updated} = CURRENT_TIMESTAMP"
            + self.new_etag
        )
        upsert = f"{insert} VALUES ($1, {marks}, {until}) ON CONFLICT (key) DO UPDATE SET {changes}"
        assigned = ", ".join(
            f"{name} = ${n}::{kind}" for n, (name, kind) in enumerate(self.columns, 2)
        )
        arrays = ", ".join(f"${n}::{kind}[]" for n, (_, kind) in enumerate(self.columns, 2))
        same = f"{self.etag} = ${after + 1}::{self.etag_type}"
        return Statements(
            get=f"SELECT {self.selected} FROM {table} WHERE key = $1 AND {live}",  # noqa: S608
            bulk_get=(
                f"SELECT {self.selected} FROM {table} "  # noqa: S608
                f"WHERE key = ANY($1::text[]) AND {live}"
            ),
            upsert=upsert,
            first_write=f"{upsert} WHERE {table}.{self.expires} <= CURRENT_TIMESTAMP",
            update=(
                f"UPDATE {table} SET {assigned}, {self.expires} = {until}, "  # noqa: S608
                f"{self.updated} = CURRENT_TIMESTAMP{self.new_etag} "
                f"WHERE key = $1 AND {same} AND {live}"
            ),
            delete=f"DELETE FROM {table} WHERE key = $1",  # noqa: S608
            delete_etag=(
                f"DELETE FROM {table} "  # noqa: S608
                f"WHERE key = $1 AND {self.etag} = $2::{self.etag_type} AND {live}"
            ),
            bulk_set=(
                f"{insert} SELECT given.key, {names}, "  # noqa: S608
                "CURRENT_TIMESTAMP + make_interval(secs => seconds) "
                f"FROM unnest($1::text[], {arrays}, ${after}::float8[]) "
                f"AS given (key, {names}, seconds) ON CONFLICT (key) DO UPDATE SET {changes}"
            ),
            bulk_delete=f"DELETE FROM {table} WHERE key = ANY($1::text[])",  # noqa: S608
            delete_expired=(
                f"DELETE FROM {table} WHERE {self.expires} IS NOT NULL "  # noqa: S608
                f"AND {self.expires} <= CURRENT_TIMESTAMP"
            ),
            claim_cleanup=(
                f"INSERT INTO {self.metadata_table} AS m (key, value) "  # noqa: S608
                "VALUES ($1, CURRENT_TIMESTAMP::text) "
                "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value WHERE EXTRACT(EPOCH FROM "
                "CURRENT_TIMESTAMP - m.value::timestamptz)::float8 > $2::float8"
            ),
        )


async def migrate(connection: Connection, layout: Layout) -> None:
    """Bring the tables to the layout's level; of several sidecars one does it."""
    await _create_metadata_table(connection, layout.metadata_table)
    async with connection.transaction():
        # Sidecars in Go take the same lock for the same purpose.
        await connection.execute(
            f"LOCK TABLE {layout.metadata_table} IN SHARE UPDATE EXCLUSIVE MODE"
        )
        found = await connection.fetchval(
            f"SELECT value FROM {layout.metadata_table} WHERE key = $1",  # noqa: S608
            layout.migration_key,
        )
        level = int(found) if found and found.isdigit() else 0
        for statements in layout.migrations[level:]:
            for statement in statements:
                await connection.execute(statement)
        if level < len(layout.migrations):
            await connection.execute(
                f"INSERT INTO {layout.metadata_table} (key, value) VALUES ($1, $2) "  # noqa: S608
                "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
                layout.migration_key,
                str(len(layout.migrations)),
            )


async def _create_metadata_table(connection: Connection, table: str) -> None:
    with contextlib.suppress(*MADE_BY_ANOTHER):
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table} "
            "(key text NOT NULL PRIMARY KEY, value text NOT NULL)"
        )
