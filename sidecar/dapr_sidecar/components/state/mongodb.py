"""``state.mongodb``: one document per key."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import pymongo
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    QueryResult,
    SetRequest,
    StateStore,
    TransactionOperation,
    one_by_one,
)
from dapr_sidecar.components.state.mongodb_documents import (
    changes,
    conditions,
    is_live,
    offset,
    order,
    response,
)
from dapr_sidecar.components.state.mongodb_settings import (
    DEFAULT_SECONDS,
    MongoDbSettings,
    shown_hosts,
    url_of,
)
from dapr_sidecar.components.state.query import parse_query

T = TypeVar("T")
Document = dict[str, Any]
_CONNECTIONS = 100
_WRITE_CONFLICT = 112
_LONGEST_PAUSE = 0.05
_LONGEST_REASON = 300


class MongoDbError(Exception):
    """The database refused, or cannot be reached."""


class MongoDbStateStore(StateStore):
    """A random uuid per write as etag. Transactions need a replica set."""

    settings: ClassVar[type[Any]] = MongoDbSettings
    feature_order: ClassVar[tuple[Feature, ...]] = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.QUERY_API,
        Feature.TTL,
        Feature.KEYS_LIKE,
    )
    features = frozenset(feature_order)

    def __init__(self, settings: MongoDbSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._seconds = settings.timeout.total_seconds() or DEFAULT_SECONDS
        self._url = url_of(settings)
        self._client: AsyncMongoClient[Document] | None = None
        self._working: set[asyncio.Future[Any]] = set()

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        milliseconds = int(self._seconds * 1000)
        try:
            self._client = AsyncMongoClient(
                self._url,
                tz_aware=True,
                appname="dapr",
                maxPoolSize=_CONNECTIONS,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                waitQueueTimeoutMS=milliseconds,
            )
        except (ConfigurationError, PyMongoError, ValueError) as error:
            raise SettingsError(f"invalid metadata field 'connectionString': {error}") from error
        try:
            await self.ping()
            await self._within(self._documents.create_index("_ttl", expireAfterSeconds=0))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.gather(*self._working, return_exceptions=True)
            await client.close()

    async def ping(self) -> None:
        await self._within(self._connected.admin.command("ping"))

    # --- one key ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        found = await self._within(self._documents.find_one({"_id": request.key}))
        return response(found, _now())

    async def set(self, request: SetRequest) -> None:
        await self._within(self._set(request))

    async def delete(self, request: DeleteRequest) -> None:
        await self._within(self._delete(request))

    # --- several ----------------------------------------------------------------------------

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """One query, in the order the keys were asked for."""
        if not requests:
            return []
        keys = list({request.key for request in requests})
        found = await self._within(self._documents.find({"_id": {"$in": keys}}).to_list())
        by_key = {one["_id"]: response(one, _now()) for one in found}
        items = []
        for request in requests:
            one = by_key.get(request.key, GetResponse())
            items.append(BulkGetItem(request.key, one.data, one.etag, one.metadata))
        return items

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        """One call for what has no condition, the others one by one."""
        errors: dict[int, Exception] = {}
        conditional: list[tuple[int, SetRequest]] = []
        plain: dict[str, UpdateOne] = {}
        for index, request in enumerate(requests):
            if request.etag or request.concurrency == "first-write":
                conditional.append((index, request))
                continue
            try:
                change = changes(request, _now())
            except ValueError as error:
                errors[index] = error
            else:
                plain[request.key] = UpdateOne({"_id": request.key}, change, upsert=True)
        if plain:
            writes = list(plain.values())
            await self._within(self._documents.bulk_write(writes, ordered=False))
        await one_by_one(self.set, conditional, errors)

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        """One call for what has no etag, the others one by one."""
        plain = [request.key for request in requests if not request.etag]
        if plain:
            await self._within(self._documents.delete_many({"_id": {"$in": plain}}))
        await one_by_one(self.delete, ((i, one) for i, one in enumerate(requests) if one.etag))

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing; one operation alone needs no transaction."""
        if len(operations) == 1:
            await self._within(self._apply(operations[0], None))
            return

        async def apply(session: AsyncClientSession) -> None:
            for operation in operations:
                await self._apply(operation, session)

        async def run() -> None:
            async with self._connected.start_session() as session:
                while True:
                    try:
                        return await session.with_transaction(apply)
                    except OperationFailure as error:
                        # The library repeats what the server marks as passing; some mark nothing.
                        if error.code != _WRITE_CONFLICT:
                            raise
                    await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311

        await self._within(run())

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        """Documents that match. Raises ``QueryError``."""
        wanted, now = parse_query(query), _now()
        start = offset(wanted.token)
        cursor = self._documents.find(conditions(wanted, now)).sort(order(wanted)).skip(start)
        found = await self._within(cursor.limit(wanted.limit).to_list())
        items = []
        for one in found:
            read = response(one, now)
            items.append(BulkGetItem(one["_id"], read.data, read.etag, read.metadata))
        return QueryResult(items, str(start + len(items)) if wanted.limit else "")

    # --- parts ------------------------------------------------------------------------------

    @property
    def _connected(self) -> AsyncMongoClient[Document]:
        if self._client is None:
            raise MongoDbError("the connections to mongodb are closed")
        return self._client

    @property
    def _documents(self) -> AsyncCollection[Document]:
        settings = self._settings
        level = settings.read_concern
        return self._connected[settings.database].get_collection(
            settings.collection,
            write_concern=_write_concern(settings.write_concern),
            read_concern=ReadConcern(level.value) if level else None,
        )

    async def _apply(
        self, operation: TransactionOperation, session: AsyncClientSession | None
    ) -> None:
        if isinstance(operation, SetRequest):
            await self._set(operation, session)
        else:
            await self._delete(operation, session)

    async def _set(self, request: SetRequest, session: AsyncClientSession | None = None) -> None:
        now = _now()
        change, wanted = changes(request, now), {"_id": request.key}
        if request.etag:
            found = {**wanted, "_etag": request.etag, **is_live(now)}
            done = await self._documents.update_one(found, change, session=session)
            if done.matched_count == 0:
                raise EtagError("the document was changed, or is not there")
        elif request.concurrency == "first-write":
            # A document that is there and has not expired does not match: it is in the way.
            expired = {**wanted, "_ttl": {"$lte": now}}
            try:
                await self._documents.update_one(expired, change, upsert=True, session=session)
            except DuplicateKeyError as error:
                raise EtagError("the key is there already") from error
        else:
            await self._documents.update_one(wanted, change, upsert=True, session=session)

    async def _delete(
        self, request: DeleteRequest, session: AsyncClientSession | None = None
    ) -> None:
        wanted: Document = {"_id": request.key}
        if not request.etag:
            await self._documents.delete_one(wanted, session=session)
            return
        wanted |= {"_etag": request.etag, **is_live(_now())}
        done = await self._documents.delete_one(wanted, session=session)
        if done.deleted_count == 0:
            raise EtagError("the document was changed, or is not there")

    async def _within(self, work: Awaitable[T]) -> T:
        """The result within the deadline, which is the library's to keep. Raises ``MongoDbError``.

        The work goes on when its caller is cancelled: the library loses connections otherwise.
        """
        task = asyncio.ensure_future(self._bounded(work))
        self._working.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone

    async def _bounded(self, work: Awaitable[T]) -> T:
        try:
            with pymongo.timeout(self._seconds):
                return await work
        except PyMongoError as error:
            shown = f"mongodb at {shown_hosts(self._url)}"
            if error.timeout:
                text = f"{shown} did not answer within {self._seconds:g} s"
                raise MongoDbError(text) from error
            raise MongoDbError(f"{shown}: {str(error)[:_LONGEST_REASON]}") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _write_concern(text: str) -> WriteConcern | None:
    if not text:
        return None
    return WriteConcern(w=int(text) if text.isdecimal() else text)
