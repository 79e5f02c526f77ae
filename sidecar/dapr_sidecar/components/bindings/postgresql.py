"""``bindings.postgresql``: SQL statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, ClassVar

from dapr_common.durations import format_go_duration
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import InvokeRequest, InvokeResponse, OutputBinding
from dapr_sidecar.components.bindings.postgresql_values import (
    arguments,
    cast_statement,
    parameters,
    rfc3339,
    rows_json,
)
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.postgresql.pool import Pool
from dapr_sidecar.components.postgresql.settings import PostgresSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBindingSettings(PostgresSettings):
    """The shared connection settings; ``url`` is what older manifests call the string."""

    connection_string: str = setting(
        "connectionString",
        aliases=("url",),
        default="",
        secret=True,
        help="key=value words or a postgresql:// URL; or say host, user and so on",
    )


@dataclass(frozen=True, slots=True)
class _Result:
    rows: Sequence[Any]
    types: Sequence[Any]
    status: str
    """The server's word for what was done, such as ``INSERT 0 1``."""


class PostgresBinding(OutputBinding):
    """``exec`` says how many rows a statement changed, ``query`` brings its rows as JSON lists.

    ``close`` ends the connections, for good. One request is one statement; values belong into
    ``params``, never into ``sql``.
    """

    settings: ClassVar[type[Any]] = PostgresBindingSettings
    operations = ("exec", "query", "close")

    def __init__(self, settings: PostgresBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._pool = Pool(settings)

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def ping(self) -> None:
        await self._pool.run(lambda connection: connection.fetchval("SELECT 1"))

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        if request.operation == "close":
            await self._pool.close()
            return None
        sql = request.metadata.get("sql", "")
        if not sql.strip():
            raise ValueError("missing metadata 'sql': expected a statement")
        given = parameters(request.metadata.get("params", ""))
        started, clock = datetime.now(UTC), perf_counter()
        result = await self._pool.run(lambda connection: _run(connection, sql, given))
        elapsed = timedelta(seconds=perf_counter() - clock)
        metadata = {
            "operation": request.operation,
            "sql": sql,
            "start-time": rfc3339(started),
            "end-time": rfc3339(started + elapsed),
            "duration": format_go_duration(elapsed),
        }
        if request.operation == "query":
            return InvokeResponse(rows_json(result.rows, result.types), metadata)
        metadata["rows-affected"] = _count(result.status)
        return InvokeResponse(b"", metadata)


async def _run(connection: Any, sql: str, given: Sequence[Any]) -> _Result:
    # Without a name nothing is left at the server, and PgBouncer has nothing to mix up.
    statement = await connection.prepare(sql, name="")
    values, casts = arguments(given, statement.get_parameters())
    if casts:
        read = await connection.fetchrow(cast_statement(casts), *(cast.value for cast in casts))
        for cast, value in zip(casts, read, strict=True):
            values[cast.position] = value
        statement = await connection.prepare(sql, name="")  # that one may have taken its place
    rows = await statement.fetch(*values)
    types = [attribute.type for attribute in statement.get_attributes()]
    return _Result(rows, types, statement.get_statusmsg() or "")


def _count(status: str) -> str:
    last = status.rpartition(" ")[2]
    return last if last.isdigit() else "0"
