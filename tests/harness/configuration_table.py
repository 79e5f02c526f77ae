"""A configuration table as Dapr's users make it, by calls that owe nothing to our store."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg

_SCHEMA = """
CREATE TABLE IF NOT EXISTS {name} (
    key VARCHAR NOT NULL, value VARCHAR NOT NULL, version VARCHAR NOT NULL, metadata JSON
);
CREATE OR REPLACE FUNCTION {name}_event() RETURNS TRIGGER AS $$
DECLARE
    changed json;
BEGIN
    changed = CASE WHEN TG_OP = 'DELETE' THEN row_to_json(OLD) ELSE row_to_json(NEW) END;
    PERFORM pg_notify('{channel}', json_build_object(
        'table', TG_TABLE_NAME, 'action', TG_OP, 'data', changed)::text);
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;
DROP TRIGGER IF EXISTS {name}_changed ON {name};
CREATE TRIGGER {name}_changed AFTER INSERT OR UPDATE OR DELETE ON {name}
    FOR EACH ROW EXECUTE PROCEDURE {name}_event();
"""


class ConfigurationTable:
    """Every call is a connection of its own, and blocks."""

    def __init__(
        self, port: int, name: str, channel: str = "", *, database: str = "postgres"
    ) -> None:
        """``channel`` is that of the table's name unless another is given."""
        self._url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
        self.name = name
        self.channel = channel or name

    def create(self) -> None:
        self.run(_SCHEMA.format(name=self.name, channel=self.channel))

    def write(self, key: str, value: str | None, version: str = "", metadata: str = "") -> None:
        """Give a key one row with a value, or with ``None`` no row; one notification."""
        if value is None:
            self.run(f"DELETE FROM {self.name} WHERE key = $1", key)
            return
        change = f"UPDATE {self.name} SET value = $2, version = $3, metadata = $4 WHERE key = $1"
        values = (key, value, version, metadata or None)
        if not self.run(change + " RETURNING key", *values):
            self.add(*values)

    def add(self, key: str, value: str, version: str = "", metadata: str | None = None) -> None:
        """One more row of a key."""
        insert = f"INSERT INTO {self.name} (key, value, version, metadata) VALUES ($1, $2, $3, $4)"
        self.run(insert, key, value, version, metadata)

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._run(sql, values))).result(60)

    async def _run(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self._url, timeout=30)
        try:
            if not values:
                rows = await connection.execute(sql) if ";" in sql else await connection.fetch(sql)
            else:
                rows = await connection.fetch(sql, *values)
            return [] if isinstance(rows, str) else [tuple(row) for row in rows]
        finally:
            await connection.close()
