"""``state.aws.dynamodb``: one item per key, by signed calls to the service."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_sidecar.components.aws.client import AwsError, AwsJsonClient
from dapr_sidecar.components.aws.settings import AwsSettings
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.state.base import (
    BulkError,
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    SetRequest,
    StateStore,
    TransactionOperation,
)
from dapr_sidecar.components.state.dynamodb_items import Table, once_per_key

_SECONDS = 5.0
_PROBE = "dapr-probe"
_LARGEST_READ = 100
_LARGEST_WRITE = 25
_LARGEST_TRANSACTION = 100
_ROUNDS = 8
"""How often the service may give back a part of a batch undone."""
_FAILED_CONDITION = "ConditionalCheckFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoDbSettings(AwsSettings):
    """Names and defaults of Dapr's DynamoDB store."""

    table: str = setting("table", help="name of the table; it must be there")
    partition_key: str = setting(
        "partitionKey", default="key", help="name of the table's primary key attribute, a text"
    )
    ttl_attribute: str = setting(
        "ttlAttributeName", default="", help="attribute of the expiry; without it nothing expires"
    )


class DynamoDbStateStore(StateStore):
    """A random number per write as etag; needs a table with a primary key of one text."""

    settings: ClassVar[type[Any]] = DynamoDbSettings
    features = frozenset({Feature.ETAG, Feature.TRANSACTIONAL})
    feature_order: ClassVar[tuple[Feature, ...]] = (Feature.ETAG, Feature.TRANSACTIONAL)
    max_operations = _LARGEST_TRANSACTION

    def __init__(self, settings: DynamoDbSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._table = Table(settings.table, settings.partition_key or "key", settings.ttl_attribute)
        self._client = AwsJsonClient(settings, "dynamodb", "DynamoDB_20120810", "1.0", _SECONDS)
        if settings.ttl_attribute:
            self.feature_order = (*type(self).feature_order, Feature.TTL)  # type: ignore[misc]
            self.features = frozenset(self.feature_order)  # type: ignore[misc]

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> None:
        try:
            await self.ping()
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                raise SettingsError(
                    f"invalid metadata field 'table': '{self._table.name}': there is no such "
                    f"table: {error}"
                ) from error
            if error.code == "ValidationException":
                raise SettingsError(
                    f"invalid metadata field 'partitionKey': '{self._table.key}': the table "
                    f"'{self._table.name}' has another primary key: {error}"
                ) from error
            raise

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.call("GetItem", self._table.get(_PROBE, strong=False))

    # --- one key ----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        strong = request.consistency == "strong"
        answer = await self._client.call("GetItem", self._table.get(request.key, strong=strong))
        return self._table.response(answer.get("Item"))

    async def set(self, request: SetRequest) -> None:
        await self._write("PutItem", self._table.put(request))

    async def delete(self, request: DeleteRequest) -> None:
        await self._write("DeleteItem", self._table.delete(request))

    async def _write(self, operation: str, call: Mapping[str, Any]) -> None:
        # A conditional write that was done, and asked for again, would fail by its own work.
        repeatable = "ConditionExpression" not in call
        try:
            await self._client.call(operation, call, repeatable=repeatable)
        except AwsError as error:
            if error.code == _FAILED_CONDITION + "Exception":
                raise EtagError("the item was changed, or is not there") from error
            raise

    # --- several ----------------------------------------------------------------------------

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        """A hundred keys with each call, in the order they were asked for."""
        strong = any(request.consistency == "strong" for request in requests)
        keys = list(dict.fromkeys(request.key for request in requests))
        found: dict[str, GetResponse] = {}
        for start in range(0, len(keys), _LARGEST_READ):
            part = keys[start : start + _LARGEST_READ]
            wanted = {"Keys": [self._table.key_of(key) for key in part], "ConsistentRead": strong}
            for item in await self._read_batch({self._table.name: wanted}):
                found[item[self._table.key]["S"]] = self._table.response(item)
        items = []
        for request in requests:
            one = found.get(request.key, GetResponse())
            items.append(BulkGetItem(request.key, one.data, one.etag, one.metadata))
        return items

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        """Twenty-five items with each call; what has a condition goes alone."""
        plain: dict[str, dict[str, Any]] = {}
        errors: dict[int, Exception] = {}
        conditional: list[int] = []
        for index, request in enumerate(requests):
            if request.etag or request.concurrency == "first-write":
                conditional.append(index)
                continue
            try:
                plain[request.key] = {"PutRequest": {"Item": self._table.item(request)}}
            except ValueError as error:
                errors[index] = error
        await self._write_batches(list(plain.values()))
        await self._one_by_one(
            [(index, self.set(requests[index])) for index in conditional], errors
        )

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        """Twenty-five items with each call; what has an etag goes alone."""
        plain = dict.fromkeys(request.key for request in requests if not request.etag)
        await self._write_batches(
            [{"DeleteRequest": {"Key": self._table.key_of(key)}} for key in plain]
        )
        conditional = [(n, self.delete(one)) for n, one in enumerate(requests) if one.etag]
        await self._one_by_one(conditional, {})

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        """All or nothing."""
        writes = [
            {"Put": self._table.put(operation)}
            if isinstance(operation, SetRequest)
            else {"Delete": self._table.delete(operation)}
            for operation in once_per_key(operations)
        ]
        # The token makes a repetition harmless: the service does the work of one token once.
        request = {"TransactItems": writes, "ClientRequestToken": str(uuid.uuid4())}
        for attempt in range(_ROUNDS):
            try:
                await self._client.call("TransactWriteItems", request)
            except AwsError as error:
                reasons = _reasons(error)
                if _FAILED_CONDITION in reasons:
                    raise EtagError("an item was changed, or is not there") from error
                if "TransactionConflict" not in reasons or attempt == _ROUNDS - 1:
                    raise
                await asyncio.sleep(0.02 * 2**attempt)
            else:
                return

    # --- parts ------------------------------------------------------------------------------

    async def _one_by_one(
        self, calls: Sequence[tuple[int, Any]], errors: dict[int, Exception]
    ) -> None:
        results = await asyncio.gather(*(call for _, call in calls), return_exceptions=True)
        for (index, _), result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                errors[index] = result
        if errors:
            raise BulkError(dict(sorted(errors.items())))

    async def _read_batch(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for attempt in range(_ROUNDS):
            answer = await self._client.call("BatchGetItem", {"RequestItems": wanted})
            items += answer.get("Responses", {}).get(self._table.name, [])
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return items
            await asyncio.sleep(0.02 * 2**attempt)
        raise _undone("BatchGetItem", wanted)

    async def _write_batches(self, writes: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(writes), _LARGEST_WRITE):
            left: Mapping[str, Any] = {
                self._table.name: list(writes[start : start + _LARGEST_WRITE])
            }
            for attempt in range(_ROUNDS):
                answer = await self._client.call("BatchWriteItem", {"RequestItems": left})
                left = answer.get("UnprocessedItems") or {}
                if not left:
                    break
                await asyncio.sleep(0.02 * 2**attempt)
            else:
                raise _undone("BatchWriteItem", left)


def _undone(operation: str, left: Mapping[str, Any]) -> AwsError:
    text = (
        f"AWS dynamodb left a part of {operation} undone {_ROUNDS} times: is the table throttled?"
    )
    return AwsError(text, "Unprocessed", 200, left)


def _reasons(error: AwsError) -> set[str]:
    """Why a transaction was cancelled: a word for each of its operations."""
    return {reason.get("Code", "") for reason in error.body.get("CancellationReasons") or []}
