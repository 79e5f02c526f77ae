"""``state.azure.cosmosdb``: one document per key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.azure.settings import AzureSettings
from dapr_sidecar.components.azure.tokens import TokenSource
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.cosmosdb.client import (
    Authorize,
    CosmosContainer,
    CosmosError,
    key_authorization,
    token_authorization,
)
from dapr_sidecar.components.metadata import SettingsError, setting
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
)
from dapr_sidecar.components.state.cosmosdb_documents import (
    check_key,
    document,
    partition_of,
    response,
    sql,
    transaction_partition,
)
from dapr_sidecar.components.state.query import parse_query

_SECONDS = 10.0
_LARGEST_TRANSACTION = 100
_ABSENT, _EXISTS, _CHANGED = 404, 409, 412
_NOT_REACHED = 424
"""The status of operations that were not done because another one of the batch failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CosmosDbSettings(AzureSettings):
    """Names and defaults of Dapr's Cosmos DB store."""

    url: str = setting("url", help="URL of the account: https://NAME.documents.azure.com:443/")
    database: str = setting("database", help="name of the database; it must be there")
    collection: str = setting(
        "collection", help="name of the container, whose partition key must be /partitionKey"
    )
    content_type: str = setting(
        "contentType",
        default="application/json",
        help="what bytes are: JSON objects are kept as such, text/... as text, others as base64",
    )
    master_key: str = setting(
        "masterKey",
        default="",
        secret=True,
        help="key of the account; without it Microsoft Entra ID vouches for us",
    )


class CosmosDbStateStore(StateStore):
    """The service's own etags; a partition is named by the request, or it is the key's own."""

    settings: ClassVar[type[Any]] = CosmosDbSettings
    feature_order: ClassVar[tuple[Feature, ...]] = (
        Feature.ETAG,
        Feature.TRANSACTIONAL,
        Feature.QUERY_API,
        Feature.TTL,
        Feature.PARTITION_KEY,
    )
    features = frozenset(feature_order)
    max_operations = _LARGEST_TRANSACTION

    def __init__(self, settings: CosmosDbSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._content_type = settings.content_type
        self._names = (settings.database, settings.collection)
        try:
            self._container = CosmosContainer(
                settings.url, *self._names, _authorization(settings), _SECONDS
            )
        except SettingsError:
            raise
        except ValueError as error:
            raise SettingsError(
                f"invalid metadata field 'url': '{settings.url}': {error}"
            ) from None

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        try:
            found = await self._container.describe()
        except CosmosError as error:
            database, collection = self._names
            if error.status == _ABSENT:
                raise SettingsError(
                    f"invalid metadata field 'collection': '{collection}': there is no such "
                    f"container, or no database '{database}': {error}"
                ) from error
            raise
        paths = found.get("partitionKey", {}).get("paths", ["/partitionKey"])
        if paths != ["/partitionKey"]:
            raise SettingsError(
                f"invalid metadata field 'collection': '{self._names[1]}': its partition key is "
                f"{', '.join(paths)}, it must be /partitionKey"
            )

    async def close(self) -> None:
        await self._container.close()

    async def ping(self) -> None:
        await self._container.describe()

    # --- one key ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        partition = partition_of(request.key, request.metadata)
        headers = _consistency(request.consistency)
        try:
            found = await self._container.read(check_key(request.key), partition, headers)
        except CosmosError as error:
            if error.status == _ABSENT:
                return GetResponse()
            raise
        return response(found)

    async def set(self, request: SetRequest) -> None:
        partition = partition_of(request.key, request.metadata)
        written = document(request, partition, self._content_type)
        if request.etag:
            with _etag_errors(_ABSENT, _CHANGED):
                await self._container.replace(written, partition, request.etag)
        elif request.concurrency == "first-write":
            with _etag_errors(_EXISTS):
                await self._container.create(written, partition, {})
        else:
            upsert = {"x-ms-documentdb-is-upsert": "True"}
            await self._container.create(written, partition, upsert)

    async def delete(self, request: DeleteRequest) -> None:
        partition = partition_of(request.key, request.metadata)
        headers = {"if-match": request.etag} if request.etag else {}
        try:
            with _etag_errors(_CHANGED, *((_ABSENT,) if request.etag else ())):
                await self._container.delete(check_key(request.key), partition, headers)
        except CosmosError as error:
            if error.status != _ABSENT:
                raise

    # --- several ----------------------------------------------------------------------------

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing, within one partition."""
        partition = transaction_partition(list(operations), metadata)
        absent = await self._absent(operations, partition)
        batch = [
            self._batched(operation, partition)
            for operation in operations
            if operation.key not in absent
        ]
        if not batch:
            return
        results = await self._container.batch(batch, partition)
        failed = [r for r in results if r["statusCode"] >= 400 and r["statusCode"] != _NOT_REACHED]
        if not failed:
            return
        status = failed[0]["statusCode"]
        if status in (_ABSENT, _EXISTS, _CHANGED):
            raise EtagError("a document was changed, or is not there")
        raise CosmosError(f"an operation of the transaction failed with status {status}", status)

    async def _absent(
        self, operations: Sequence[TransactionOperation], partition: str
    ) -> frozenset[str]:
        """Keys that are only deleted and are not there: a batch fails at such a deletion."""
        kept = {one.key for one in operations if isinstance(one, SetRequest) or one.etag}
        doomed = [one.key for one in operations if one.key not in kept]
        asked = [GetRequest(key, {"partitionKey": partition}) for key in dict.fromkeys(doomed)]
        found = await self.bulk_get(asked, 10)
        return frozenset(item.key for item in found if item.data is None and not item.error)

    def _batched(self, operation: TransactionOperation, partition: str) -> dict[str, Any]:
        condition = {"ifMatch": operation.etag} if operation.etag else {}
        if not isinstance(operation, SetRequest):
            return {"operationType": "Delete", "id": check_key(operation.key), **condition}
        written = document(operation, partition, self._content_type)
        if operation.etag:
            kind = {"operationType": "Replace", "id": operation.key}
        elif operation.concurrency == "first-write":
            kind = {"operationType": "Create"}
        else:
            kind = {"operationType": "Upsert"}
        return {**kind, **condition, "resourceBody": written}

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        """Documents that match; over all partitions unless the metadata names one."""
        wanted = parse_query(query)
        text, parameters = sql(wanted)
        headers = {"x-ms-max-item-count": str(wanted.limit or -1)}
        if partition := partition_of("", metadata):
            headers["x-ms-documentdb-partitionkey"] = json.dumps([partition])
        else:
            headers["x-ms-documentdb-query-enablecrosspartition"] = "True"
        items: list[BulkGetItem] = []
        token = wanted.token
        while True:
            more = {"x-ms-continuation": token} if token else {}
            documents, token = await self._container.query(text, parameters, {**headers, **more})
            for one in documents:
                found = response(one)
                if found.data is not None:
                    items.append(BulkGetItem(one["id"], found.data, found.etag, found.metadata))
            if wanted.limit or not token:
                return QueryResult(items, token)


def _authorization(settings: CosmosDbSettings) -> Authorize:
    if not settings.master_key:
        return token_authorization(TokenSource(settings, _resource(settings.url)).get)
    try:
        return key_authorization(base64.b64decode(settings.master_key, validate=True))
    except binascii.Error:
        raise SettingsError(
            "invalid metadata field 'masterKey': the value: expected base64"
        ) from None


def _resource(url: str) -> str:
    """What tokens are for: the account, without the port."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/')[0].split(':')[0]}"


def _consistency(word: str) -> dict[str, str]:
    return {"x-ms-consistency-level": word.capitalize()} if word else {}


@contextmanager
def _etag_errors(*statuses: int) -> Iterator[None]:
    """Turns the statuses that a failed condition has into ``EtagError``."""
    try:
        yield
    except CosmosError as error:
        if error.status in statuses:
            raise EtagError("the document was changed, or is not there") from error
        raise
