"""``state.postgresql`` version 1: values as JSONB, which queries can look into."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.postgresql.names import table_name
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    EtagError,
    Feature,
    Json,
    QueryResult,
    SetRequest,
)
from dapr_sidecar.components.state.postgresql_base import (
    PostgresStateSettings,
    PostgresStateStore,
)
from dapr_sidecar.components.state.postgresql_layout import Layout
from dapr_sidecar.components.state.postgresql_query import next_token, select
from dapr_sidecar.components.state.query import parse_query

_LARGEST_XID = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresV1Settings(PostgresStateSettings):
    """Names and defaults of Dapr's first PostgreSQL layout."""

    table: str = setting("tableName", default="state", help="table of the data")


class PostgresV1StateStore(PostgresStateStore):
    """The id of the transaction that wrote a row is its etag."""

    settings: ClassVar[type[Any]] = PostgresV1Settings
    features = PostgresStateStore.features | {Feature.QUERY_API}
    feature_order = (*PostgresStateStore.feature_order, Feature.QUERY_API)

    def __init__(self, settings: PostgresV1Settings, context: ComponentContext) -> None:
        table = table_name("tableName", settings.table)
        metadata_table = table_name("metadataTableName", settings.metadata_table)
        super().__init__(settings, context, _layout(table, metadata_table))

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        """Rows whose JSON matches. Raises ``QueryError``."""
        wanted = parse_query(query)
        sql, values = select(wanted, self._layout)
        rows = await self._pool.run(lambda connection: connection.fetch(sql, *values))
        items = []
        for row in rows:
            found = self._response(row)
            items.append(BulkGetItem(row["key"], found.data, found.etag, found.metadata))
        return QueryResult(items, next_token(wanted, len(items)))

    def _stored(self, request: SetRequest) -> tuple[Any, ...]:
        if isinstance(request.value, Json):
            return encoding.plain(request.value).decode(), False
        return json.dumps(base64.b64encode(request.value).decode()), True

    def _data(self, value: Any, binary: bool) -> bytes:
        return base64.b64decode(json.loads(value)) if binary else str(value).encode()

    def _etag(self, etag: str) -> int:
        if not etag.isdecimal() or int(etag) > _LARGEST_XID:
            raise EtagError(f"'{etag}' is no number of 32 bits", invalid=True)
        return int(etag)


def _layout(table: str, metadata_table: str) -> Layout:
    return Layout(
        table=table,
        metadata_table=metadata_table,
        columns=(("value", "jsonb"), ("isbinary", "boolean")),
        binary="isbinary",
        etag="xmin",
        etag_type="xid",
        new_etag="",
        updated="updatedate",
        expires="expiredate",
        migration_key="migrations",
        cleanup_key="last-cleanup",
        migrations=(
            (
                (
                    f"CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, "
                    "value jsonb NOT NULL, isbinary boolean NOT NULL, "
                    "insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), "
                    "updatedate TIMESTAMP WITH TIME ZONE NULL)"
                ),
            ),
            (f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMP WITH TIME ZONE",),
            (
                (
                    f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "
                    "row_id bigint GENERATED ALWAYS AS IDENTITY UNIQUE"
                ),
            ),
        ),
    )
