"""State stores in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.components.v1 import common_pb2
from dapr_common.wire.dapr.proto.components.v1 import state_pb2 as pb
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.pluggable.errors import violation
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.plugged import Plugged, plugged
from dapr_sidecar.components.pluggable.services import (
    LARGEST_TRANSACTION,
    QUERIES,
    STATE,
    TRANSACTIONS,
    Service,
)
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import (
    BulkGetItem,
    DeleteRequest,
    EtagError,
    Feature,
    GetRequest,
    GetResponse,
    Json,
    QueryResult,
    SetRequest,
    StateStore,
    TransactionOperation,
)
from dapr_sidecar.components.state.query import parse_query

_OPTIONS = pb.StateOptions
_CONSISTENCY = {
    "eventual": _OPTIONS.CONSISTENCY_EVENTUAL,
    "strong": _OPTIONS.CONSISTENCY_STRONG,
}
_CONCURRENCY = {
    "first-write": _OPTIONS.CONCURRENCY_FIRST_WRITE,
    "last-write": _OPTIONS.CONCURRENCY_LAST_WRITE,
}
_ORDERS = {False: pb.Sorting.ASC, True: pb.Sorting.DESC}
_ETAG_CODES = {GrpcCode.FAILED_PRECONDITION: False, GrpcCode.INVALID_ARGUMENT: True}
_NAMES = frozenset(feature.value for feature in Feature)


def store_class(served: Iterable[str], link: Link) -> type[Component]:
    """The class of a store that has these services."""
    abilities = {
        TRANSACTIONS.full_name: _Transactions,
        LARGEST_TRANSACTION.full_name: _LimitedTransactions,
        QUERIES.full_name: _Queries,
    }
    found = tuple(ability for name, ability in abilities.items() if name in served)
    return plugged((*found, PluggableStateStore), link)


class PluggableStateStore(Plugged, StateStore):
    """Etag failures are told apart by the status and the field ``etag`` of its details."""

    implied: ClassVar[frozenset[Feature]] = frozenset()
    """What an ability of the class means."""

    def __init__(self, settings: Any, context: Any) -> None:
        super().__init__(settings, context)
        self._one_by_one: set[str] = set()
        """Bulk methods that the component does not have."""

    async def open(self) -> None:
        await super().open()
        answer = await self._call(
            STATE, "Features", common_pb2.FeaturesRequest(), common_pb2.FeaturesResponse
        )
        implied = {f for kind in type(self).__mro__ for f in vars(kind).get("implied", ())}
        told = [Feature(name) for name in answer.features if name in _NAMES]
        order = (*told, *sorted(implied.difference(told), key=lambda feature: feature.value))
        self.feature_order = tuple(f for f in order if f not in _ABILITIES or f in implied)  # type: ignore[misc]
        self.features = frozenset(self.feature_order)  # type: ignore[misc]

    # --- single -----------------------------------------------------------------------------

    async def get(self, request: GetRequest) -> GetResponse:
        found = await self._call(STATE, "Get", _get(request), pb.GetResponse)
        etag = found.etag.value or None
        data = found.data if found.data or etag else None
        return GetResponse(data, etag, dict(found.metadata), found.content_type or None)

    async def set(self, request: SetRequest) -> None:
        await self._call(STATE, "Set", _set(request), pb.SetResponse)

    async def delete(self, request: DeleteRequest) -> None:
        await self._call(STATE, "Delete", _delete(request), pb.DeleteResponse)

    # --- bulk -------------------------------------------------------------------------------

    async def bulk_get(self, requests: Sequence[GetRequest], parallelism: int) -> list[BulkGetItem]:
        asked = pb.BulkGetRequest(
            items=[_get(one) for one in requests],
            options=pb.BulkGetRequestOptions(parallelism=parallelism),
        )
        found = await self._bulk("BulkGet", asked, pb.BulkGetResponse, requests)
        if found is None:
            return await super().bulk_get(requests, parallelism)
        known = {item.key: _item(item) for item in found.items}
        return [known.get(request.key) or BulkGetItem(request.key) for request in requests]

    async def bulk_set(self, requests: Sequence[SetRequest]) -> None:
        """One call, which fails as a whole where the component has it."""
        asked = pb.BulkSetRequest(
            items=[_set(one) for one in requests], options=pb.BulkSetRequestOptions()
        )
        if await self._bulk("BulkSet", asked, pb.BulkSetResponse, requests) is None:
            await super().bulk_set(requests)

    async def bulk_delete(self, requests: Sequence[DeleteRequest]) -> None:
        asked = pb.BulkDeleteRequest(
            items=[_delete(one) for one in requests], options=pb.BulkDeleteRequestOptions()
        )
        if await self._bulk("BulkDelete", asked, pb.BulkDeleteResponse, requests) is None:
            await super().bulk_delete(requests)

    async def _bulk(self, method: str, request: Any, answer: Any, items: Sequence[object]) -> Any:
        """The answer; ``None`` when the component takes items one by one only."""
        if method in self._one_by_one or not items:
            return None
        try:
            return await self._call(STATE, method, request, answer)
        except RpcError as error:
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
        self._one_by_one.add(method)
        return None

    # --- inside -----------------------------------------------------------------------------

    async def _call(self, service: Service, method: str, request: Any, answer: Any) -> Any:
        try:
            return await self.link.call(service.method(method), request, answer)
        except RpcError as error:
            invalid = _ETAG_CODES.get(error.code)
            if invalid is None or (text := violation(error, "etag")) is None:
                raise
            raise EtagError(text, invalid=invalid) from error


class _Transactions(PluggableStateStore):
    """The store applies several operations as one."""

    implied = frozenset({Feature.TRANSACTIONAL})

    async def transact(
        self, operations: Sequence[TransactionOperation], metadata: Mapping[str, str]
    ) -> None:
        request = pb.TransactionalStateRequest(
            operations=[_operation(one) for one in operations], metadata=dict(metadata)
        )
        await self._call(TRANSACTIONS, "Transact", request, pb.TransactionalStateResponse)


class _LimitedTransactions(PluggableStateStore):
    """The store tells how many operations that may be."""

    max_operations = sys.maxsize

    async def open(self) -> None:
        await super().open()
        request = pb.MultiMaxSizeRequest()
        method, answer = "MultiMaxSize", pb.MultiMaxSizeResponse
        found = await self._call(LARGEST_TRANSACTION, method, request, answer)
        if found.max_size > 0:
            self.max_operations = found.max_size


class _Queries(PluggableStateStore):
    """The store has the query API. A filter travels as JSON."""

    implied = frozenset({Feature.QUERY_API})

    async def query(self, query: Mapping[str, object], metadata: Mapping[str, str]) -> QueryResult:
        parsed = parse_query(query)
        asked = pb.Query(
            sort=[pb.Sorting(key=one.key, order=_ORDERS[one.descending]) for one in parsed.sort],
            pagination=pb.Pagination(limit=parsed.limit, token=parsed.token),
        )
        given = query.get("filter")
        for operator, value in given.items() if isinstance(given, Mapping) else ():
            asked.filter[operator].value = encoding.plain(Json(value))
        request = pb.QueryRequest(query=asked, metadata=dict(metadata))
        found = await self._call(QUERIES, "Query", request, pb.QueryResponse)
        return QueryResult([_item(one) for one in found.items], found.token, dict(found.metadata))


_ABILITIES = frozenset({Feature.TRANSACTIONAL, Feature.QUERY_API})
"""Features that are nothing without their service."""


def _get(request: GetRequest) -> Any:
    return pb.GetRequest(
        key=request.key,
        metadata=dict(request.metadata),
        consistency=_CONSISTENCY.get(request.consistency, _OPTIONS.CONSISTENCY_UNSPECIFIED),
    )


def _set(request: SetRequest) -> Any:
    return pb.SetRequest(
        key=request.key,
        value=encoding.plain(request.value),
        etag=_etag(request.etag),
        metadata=dict(request.metadata),
        options=_options(request),
        content_type=request.content_type or "",
    )


def _delete(request: DeleteRequest) -> Any:
    return pb.DeleteRequest(
        key=request.key,
        etag=_etag(request.etag),
        metadata=dict(request.metadata),
        options=_options(request),
    )


def _operation(operation: TransactionOperation) -> Any:
    if isinstance(operation, SetRequest):
        return pb.TransactionalStateOperation(set=_set(operation))
    return pb.TransactionalStateOperation(delete=_delete(operation))


def _etag(etag: str | None) -> Any:
    return None if etag is None else pb.Etag(value=etag)


def _options(request: SetRequest | DeleteRequest) -> Any:
    return _OPTIONS(
        concurrency=_CONCURRENCY.get(request.concurrency, _OPTIONS.CONCURRENCY_UNSPECIFIED),
        consistency=_CONSISTENCY.get(request.consistency, _OPTIONS.CONSISTENCY_UNSPECIFIED),
    )


def _item(item: Any) -> BulkGetItem:
    etag = item.etag.value or None
    data = item.data if item.data or etag else None
    metadata = dict(item.metadata) if isinstance(item, pb.BulkStateItem) else {}
    return BulkGetItem(item.key, data, etag, metadata, item.error)
