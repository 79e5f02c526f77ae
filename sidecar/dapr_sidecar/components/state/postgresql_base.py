"""What both layouts of the PostgreSQL state store have in common."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from dapr_common.moments import rfc3339
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.postgresql.pool import Connection, Pool
from dapr_sidecar.components.postgresql.settings import PostgresSettings
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    SetRequest,
    StateStore,
    TransactionOperation,
    one_by_one,
)
from dapr_sidecar.components.state.postgresql_layout import Layout, migrate

_LOG = get_logger("dapr.contrib.state.postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresStateSettings(PostgresSettings):
    """What both layouts take."""

    metadata_table: str = setting(
        "metadataTableName", default="dapr_metadata", help="table of the layout's version"
    )
    cleanup_interval: timedelta = setting(
        "cleanupInterval",
        aliases=("cleanupIntervalInSeconds",),
        default=timedelta(hours=1),
        help="how often expired rows are deleted; 0 or less never",
    )


class NothingWrittenError(Exception):
    """A first write found the key: no etag error in the PostgreSQL stores of Dapr."""


class PostgresStateStore(StateStore):
    """Everything but the columns, which ``_layout`` names, and how a value stands in them."""

    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL, Feature.TTL, Feature.KEYS_LIKE})
    feature_order: ClassVar[tuple[Feature, ...]] = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.TTL,
        Feature.KEYS_LIKE,
    )

    def __init__(
        self, settings: PostgresStateSettings, context: ComponentContext, layout: Layout
    ) -> None:
        super().__init__(settings, context)
        self._layout = layout
        self._sql = layout.statements()
        self._pool = Pool(settings)
        self._cleanup = settings.cleanup_interval.total_seconds()
        self._cleaner: asyncio.Task[None] | None = None

    @abstractmethod
    def _stored(self, request: SetRequest) -> tuple[Any, ...]:
        """The values of the layout's value columns."""

    @abstractmethod
    def _data(self, value: Any, binary: bool) -> bytes: ...

    @abstractmethod
    def _etag(self, etag: str) -> Any:
        """An etag as the database compares it. Raises ``EtagError`` for what cannot be one."""

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._pool.open()
        try:
            await self._pool.run(lambda connection: migrate(connection, self._layout))
        except BaseException:
            await self._pool.close()
            raise
        if self._cleanup > 0:
            self._cleaner = asyncio.create_task(self._clean_up(), name="postgresql-cleanup")

    async def close(self) -> None:
        cleaner, self._cleaner = self._cleaner, None
        if cleaner is not None:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
        await self._pool.close()

    async def ping(self) -> None:
        await self._pool.run(lambda connection: connection.fetchval("SELECT 1"))

    # --- one key ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        row = await self._pool.run(lambda c: c.fetchrow(self._sql.get, request.key))
        return GetResponse() if row is None else self._response(row)

    async def set(self, request: SetRequest) -> None:
        await self._pool.run(lambda connection: self._set(connection, request))

    async def delete(self, request: DeleteRequest) -> None:
        await self._pool.run(lambda connection: self._delete(connection, request))

    # --- several ----------------------------------------------------------------------------

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """One query; found rows first, then the missing ones."""
        if not requests:
            return []
        keys = [request.key for request in requests]
        rows = await self._pool.run(lambda c: c.fetch(self._sql.bulk_get, keys))
        by_key = {row["key"]: self._response(row) for row in rows}
        items = [
            BulkGetItem(key, found.data, found.etag, found.metadata)
            for key in keys
            if (found := by_key.get(key)) is not None
        ]
        return items + [BulkGetItem(key) for key in keys if key not in by_key]

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        """One statement for what has no condition, the others one by one."""
        plain: dict[str, tuple[Any, ...]] = {}
        errors: dict[int, Exception] = {}
        conditional: list[tuple[int, SetRequest]] = []
        for index, request in enumerate(requests):
            if request.etag or request.concurrency == "first-write":
                conditional.append((index, request))
                continue
            try:
                row = (*self._stored(request), _expiry(request.metadata))
            except ValueError as error:
                errors[index] = error
            else:
                plain[request.key] = (request.key, *row)
        if plain:
            # In one order everywhere: two sidecars must not wait for each other.
            rows = [plain[key] for key in sorted(plain)]
            columns = [list(column) for column in zip(*rows, strict=True)]
            await self._pool.run(lambda c: c.execute(self._sql.bulk_set, *columns))
        await one_by_one(self.set, conditional, errors)

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        """One statement for what has no etag, the others one by one."""
        plain = sorted(request.key for request in requests if not request.etag)
        if plain:
            await self._pool.run(lambda c: c.execute(self._sql.bulk_delete, plain))
        await one_by_one(self.delete, ((i, one) for i, one in enumerate(requests) if one.etag))

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing; one operation alone needs no transaction."""

        async def apply(connection: Connection) -> None:
            if len(operations) == 1:
                await self._apply(connection, operations[0])
                return
            async with connection.transaction():
                for operation in operations:
                    await self._apply(connection, operation)

        await self._pool.run(apply)

    # --- parts ------------------------------------------------------------------------------

    async def _apply(self, connection: Connection, operation: TransactionOperation) -> None:
        if isinstance(operation, SetRequest):
            await self._set(connection, operation)
        else:
            await self._delete(connection, operation)

    async def _set(self, connection: Connection, request: SetRequest) -> None:
        row = (request.key, *self._stored(request), _expiry(request.metadata))
        if request.etag:
            etag = self._etag(request.etag)
            if _count(await connection.execute(self._sql.update, *row, etag)) == 0:
                raise EtagError("no item was updated")
        elif request.concurrency == "first-write":
            if _count(await connection.execute(self._sql.first_write, *row)) == 0:
                raise NothingWrittenError("no item was updated")
        else:
            await connection.execute(self._sql.upsert, *row)

    async def _delete(self, connection: Connection, request: DeleteRequest) -> None:
        if not request.etag:
            await connection.execute(self._sql.delete, request.key)
            return
        etag = self._etag(request.etag)
        if _count(await connection.execute(self._sql.delete_etag, request.key, etag)) == 0:
            raise EtagError("no item was deleted")

    def _response(self, row: Any) -> GetResponse:
        expires: datetime | None = row["expires"]
        metadata = {} if expires is None else {"ttlExpireTime": rfc3339(expires)}
        return GetResponse(self._data(row["value"], row["bin"]), row["etag"], metadata)

    async def _clean_up(self) -> None:
        """Delete expired rows; of several sidecars one does it, the others find it was done."""
        while True:
            await asyncio.sleep(self._cleanup)
            try:
                await self._pool.run(self._delete_expired)
            except Exception as error:  # noqa: BLE001 - tried again at the next interval
                _LOG.error("error removing expired data: %s", error)

    async def _delete_expired(self, connection: Connection) -> None:
        async with connection.transaction():
            # A little less than the interval, or a sidecar would miss its own turn.
            least = max(0.0, self._cleanup - 0.1)
            mine = await connection.execute(
                self._sql.claim_cleanup, self._layout.cleanup_key, least
            )
            if _count(mine):
                await connection.execute(self._sql.delete_expired)


def _count(status: str) -> int:
    """Rows of a command tag such as ``INSERT 0 1``."""
    return int(status.rpartition(" ")[2])


def _expiry(metadata: Mapping[str, str]) -> float | None:
    """Seconds from now, or none. Raises ``ValueError``."""
    seconds = encoding.sql_ttl_seconds(metadata)
    return None if seconds is None else float(seconds)
