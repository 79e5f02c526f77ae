"""``state.postgresql`` version 2: values as the bytes they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.postgresql.names import table_name
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import EtagError, SetRequest
from dapr_sidecar.components.state.postgresql_base import (
    PostgresStateSettings,
    PostgresStateStore,
)
from dapr_sidecar.components.state.postgresql_layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresV2Settings(PostgresStateSettings):
    """Names and defaults of Dapr's second PostgreSQL layout."""

    table_prefix: str = setting(
        "tablePrefix", default="", help="put before the name 'state' of the data's table"
    )


class PostgresV2StateStore(PostgresStateStore):
    """A random uuid per write as etag."""

    settings: ClassVar[type[Any]] = PostgresV2Settings

    def __init__(self, settings: PostgresV2Settings, context: ComponentContext) -> None:
        table_name("tablePrefix", settings.table_prefix + "state")
        metadata_table = table_name("metadataTableName", settings.metadata_table)
        super().__init__(settings, context, _layout(settings.table_prefix, metadata_table))

    def _stored(self, request: SetRequest) -> tuple[Any, ...]:
        return (encoding.plain(request.value),)

    def _data(self, value: Any, binary: bool) -> bytes:
        return bytes(value)

    def _etag(self, etag: str) -> uuid.UUID:
        try:
            return uuid.UUID(etag)
        except ValueError:
            raise EtagError("no item has such an etag") from None


def _layout(prefix: str, metadata_table: str) -> Layout:
    table = prefix + "state"
    return Layout(
        table=table,
        metadata_table=metadata_table,
        columns=(("value", "bytea"),),
        binary="true",
        etag="etag",
        etag_type="uuid",
        new_etag=", etag = gen_random_uuid()",
        updated="updated_at",
        expires="expires_at",
        migration_key=f"migrations-state-v2-{prefix}",
        cleanup_key=f"last-cleanup-state-v2-{prefix}",
        migrations=(
            (
                (
                    f"CREATE TABLE IF NOT EXISTS {table} (key text NOT NULL PRIMARY KEY, "
                    "value bytea NOT NULL, etag uuid NOT NULL DEFAULT gen_random_uuid(), "
                    "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz, "
                    "expires_at timestamptz)"
                ),
                f"CREATE INDEX ON {table} (expires_at)",
            ),
            (
                (
                    f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "
                    "row_id bigint GENERATED ALWAYS AS IDENTITY UNIQUE"
                ),
            ),
        ),
    )
