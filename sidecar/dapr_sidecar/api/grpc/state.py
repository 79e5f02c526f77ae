"""gRPC methods of the state API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import empty_pb2

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import state_pb2
from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.blocks.state.items import DeleteItem, SaveItem
from dapr_sidecar.components.state import encoding
from dapr_sidecar.components.state.base import BulkGetItem, Json, StateValue

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_EMPTY = empty_pb2.Empty()
_CONCURRENCY = {0: "", 1: "first-write", 2: "last-write"}
_CONSISTENCY = {0: "", 1: "eventual", 2: "strong"}


class StateMethods:
    """Convert, call the block, convert."""

    def __init__(self, block: StateBlock) -> None:
        self._block = block

    async def get(
        self, request: state_pb2.GetStateRequest, context: Context
    ) -> state_pb2.GetStateResponse:
        block = self._block
        view = block.view(request.store_name, http=False)
        consistency = _CONSISTENCY.get(request.consistency, "")
        found = await block.get(view, request.key, consistency, request.metadata)
        return state_pb2.GetStateResponse(
            data=found.data or b"", etag=found.etag or "", metadata=found.metadata
        )

    async def bulk_get(
        self, request: state_pb2.GetBulkStateRequest, context: Context
    ) -> state_pb2.GetBulkStateResponse:
        block = self._block
        view = block.view(request.store_name, http=False)
        items = await block.bulk_get(
            view, list(request.keys), request.parallelism, dict(request.metadata)
        )
        return state_pb2.GetBulkStateResponse(items=[_bulk_item(item) for item in items])

    async def save(self, request: state_pb2.SaveStateRequest, context: Context) -> empty_pb2.Empty:
        block = self._block
        view = block.view(request.store_name, http=False)
        items = []
        for state in request.states:
            if not state.key:
                raise errors.empty_key()
            items.append(_save_item(state, view.name))
        await block.save(view, items)
        return _EMPTY

    async def delete(
        self, request: state_pb2.DeleteStateRequest, context: Context
    ) -> empty_pb2.Empty:
        block = self._block
        view = block.view(request.store_name, http=False)
        await block.delete(view, _delete_item(request))
        return _EMPTY

    async def bulk_delete(
        self, request: state_pb2.DeleteBulkStateRequest, context: Context
    ) -> empty_pb2.Empty:
        block = self._block
        view = block.view(request.store_name, http=False)
        await block.bulk_delete(view, [_delete_item(state) for state in request.states])
        return _EMPTY

    async def transact(
        self, request: state_pb2.ExecuteStateTransactionRequest, context: Context
    ) -> empty_pb2.Empty:
        block = self._block
        view = block.view(request.storeName, http=False)
        block.transactional(view)
        metadata = dict(request.metadata)
        items: list[SaveItem | DeleteItem] = []
        for operation in request.operations:
            if operation.operationType == "upsert":
                items.append(_save_item(operation.request, view.name))
            elif operation.operationType == "delete":
                items.append(_delete_item(operation.request))
            else:
                raise errors.operation_not_supported(operation.operationType)
        await block.transact(view, items, metadata)
        return _EMPTY

    async def query(
        self, request: state_pb2.QueryStateRequest, context: Context
    ) -> state_pb2.QueryStateResponse:
        block = self._block
        view = block.view(request.store_name, http=False)
        result = await block.query(view, request.query.encode(), dict(request.metadata))
        results = [
            state_pb2.QueryStateItem(
                key=item.key, data=item.data or b"", etag=item.etag or "", error=item.error
            )
            for item in result.items
        ]
        return state_pb2.QueryStateResponse(
            results=results, token=result.token, metadata=dict(result.metadata)
        )


def methods(block: StateBlock) -> list[Method]:
    """The methods of the state API."""
    handlers = StateMethods(block)
    rows: Iterable[tuple[str, Any, Any, Any]] = (
        ("GetState", state_pb2.GetStateRequest, state_pb2.GetStateResponse, handlers.get),
        (
            "GetBulkState",
            state_pb2.GetBulkStateRequest,
            state_pb2.GetBulkStateResponse,
            handlers.bulk_get,
        ),
        ("SaveState", state_pb2.SaveStateRequest, empty_pb2.Empty, handlers.save),
        ("DeleteState", state_pb2.DeleteStateRequest, empty_pb2.Empty, handlers.delete),
        (
            "DeleteBulkState",
            state_pb2.DeleteBulkStateRequest,
            empty_pb2.Empty,
            handlers.bulk_delete,
        ),
        (
            "ExecuteStateTransaction",
            state_pb2.ExecuteStateTransactionRequest,
            empty_pb2.Empty,
            handlers.transact,
        ),
        (
            "QueryStateAlpha1",
            state_pb2.QueryStateRequest,
            state_pb2.QueryStateResponse,
            handlers.query,
        ),
    )
    return [Method(_SERVICE + name, "unary_unary", q, r, h) for name, q, r, h in rows]


def _save_item(state: common_pb2.StateItem, store: str) -> SaveItem:
    metadata = dict(state.metadata)
    return SaveItem(
        state.key,
        _value(state.value, metadata, store),
        state.etag.value if state.HasField("etag") else None,
        metadata,
        _CONCURRENCY.get(state.options.concurrency, ""),
        _CONSISTENCY.get(state.options.consistency, ""),
    )


def _value(raw: bytes, metadata: Mapping[str, str], store: str) -> StateValue:
    kind = next((v for k, v in metadata.items() if k.lower() == "contenttype"), "")
    if kind != "application/json":
        return raw
    try:
        return Json(encoding.loads(raw))
    except ValueError as error:
        raise errors.save_failed(store, f"the value is not JSON: {error}") from error


def _delete_item(state: state_pb2.DeleteStateRequest | common_pb2.StateItem) -> DeleteItem:
    return DeleteItem(
        state.key,
        state.etag.value if state.HasField("etag") else None,
        dict(state.metadata),
        _CONCURRENCY.get(state.options.concurrency, ""),
        _CONSISTENCY.get(state.options.consistency, ""),
    )


def _bulk_item(item: BulkGetItem) -> state_pb2.BulkStateItem:
    return state_pb2.BulkStateItem(
        key=item.key,
        data=item.data or b"",
        etag=item.etag or "",
        error=item.error,
        metadata=dict(item.metadata),
    )
