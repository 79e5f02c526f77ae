"""Failures of the state API, in Dapr's words."""

from __future__ import annotations

from collections.abc import Mapping

from dapr_common.errors import BadRequest, DaprError, ErrorInfo, GrpcCode, Help, ResourceInfo
from dapr_sidecar.components.state.base import EtagError

_STORES = "https://docs.dapr.io/reference/components-reference/supported-state-stores/"
_STORES_TEXT = "Check the list of state stores and the features they support"


def not_configured(store: str, app_id: str | None) -> DaprError:
    """No state store is loaded at all."""
    return DaprError(
        "ERR_STATE_STORE_NOT_CONFIGURED",
        f"state store {store} is not configured",
        http_status=500,
        grpc_code=GrpcCode.FAILED_PRECONDITION,
        details=(ErrorInfo("DAPR_STATE_NOT_CONFIGURED", _app(app_id)),),
    )


def not_found(store: str, app_id: str | None) -> DaprError:
    """There are state stores, but none of this name."""
    return DaprError(
        "ERR_STATE_STORE_NOT_FOUND",
        f"state store {store} is not found",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(ErrorInfo("DAPR_STATE_NOT_FOUND", _app(app_id)),),
    )


def illegal_key(store: str, key: str, *, field: str, http: bool) -> DaprError:
    """A key holds the separator."""
    text = f"input key/keyPrefix '{key}' can't contain '||'"
    if http:
        text = f"api error: code = InvalidArgument desc = {text}"
    return DaprError(
        "ERR_MALFORMED_REQUEST",
        text,
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(
            BadRequest(((field, text),)),
            ResourceInfo("state", store),
            ErrorInfo("DAPR_STATE_ILLEGAL_KEY"),
        ),
    )


def malformed(text: str) -> DaprError:
    """The request body cannot be used."""
    return DaprError(
        "ERR_MALFORMED_REQUEST",
        text,
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )


def get_failed(store: str, key: str, cause: object) -> DaprError:
    """A read failed."""
    return _by_cause("ERR_STATE_GET", f"fail to get {key} from state store {store}: {cause}", cause)


def bulk_get_failed(cause: object) -> DaprError:
    """A bulk read failed as a whole."""
    return _by_cause("ERR_STATE_BULK_GET", str(cause), cause)


def save_failed(store: str, cause: object) -> DaprError:
    """A write failed."""
    return _by_cause(
        "ERR_STATE_SAVE", f"failed saving state in state store {store}: {cause}", cause
    )


def delete_failed(key: str, cause: object) -> DaprError:
    """A delete failed."""
    return _by_cause("ERR_STATE_DELETE", f"failed deleting state with key {key}: {cause}", cause)


def bulk_delete_failed(store: str, cause: object) -> DaprError:
    """A bulk delete failed."""
    return _by_cause(
        "ERR_STATE_BULK_DELETE", f"failed deleting state in state store {store}: {cause}", cause
    )


def empty_key() -> DaprError:
    """An item has no key (gRPC)."""
    return DaprError.basic(
        "ERR_STATE_SAVE",
        "state key cannot be empty",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )


def operation_not_supported(operation: str) -> DaprError:
    """A transaction holds an unknown operation."""
    return DaprError.basic(
        "ERR_NOT_SUPPORTED_STATE_OPERATION",
        f"operation type {operation} not supported",
        http_status=400,
        grpc_code=GrpcCode.UNIMPLEMENTED,
    )


def transaction_failed(cause: object) -> DaprError:
    """A transaction failed."""
    text = f"error while executing state transaction: {cause}"
    return _own(cause) or DaprError.basic("ERR_STATE_TRANSACTION", text)


def transactions_not_supported(store: str) -> DaprError:
    """The store has no transactions."""
    return DaprError(
        "ERR_STATE_STORE_NOT_SUPPORTED",
        f"state store {store} doesn't support transactions",
        grpc_code=GrpcCode.UNIMPLEMENTED,
        details=(
            Help(((_STORES_TEXT, _STORES),)),
            ResourceInfo("state", store),
            ErrorInfo("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED"),
        ),
    )


def too_many_operations(store: str, count: int, limit: int) -> DaprError:
    """A transaction is larger than the store allows."""
    return DaprError(
        "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
        f"the transaction contains {count} operations, which is more than what the state store "
        f"supports: {limit}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(
            ResourceInfo("state", store),
            ErrorInfo(
                "DAPR_STATE_TOO_MANY_TRANSACTIONS",
                {"currentOpsTransaction": str(count), "maxOpsPerTransaction": str(limit)},
            ),
        ),
    )


def query_not_supported(store: str) -> DaprError:
    """The store has no query API."""
    return DaprError(
        "ERR_STATE_STORE_NOT_SUPPORTED",
        "state store does not support querying",
        details=(ResourceInfo("state", store), ErrorInfo("DAPR_STATE_QUERYING_NOT_SUPPORTED")),
    )


def query_failed(store: str, cause: object) -> DaprError:
    """A query failed."""
    return _own(cause) or DaprError(
        "ERR_STATE_QUERY",
        f"state store {store} query failed: {cause}",
        details=(ResourceInfo("state", store), ErrorInfo("DAPR_STATE_QUERY_FAILED")),
    )


def outbox_failed(app_id: str, cause: object) -> DaprError:
    """The outbox event could not be published; nothing was written."""
    return DaprError(
        "ERR_PUBLISH_OUTBOX",
        f"error while publishing outbox message: {cause}",
        details=(ErrorInfo("DAPR_PUBSUB_OUTBOX", {"appID": app_id, "error": str(cause)}),),
    )


def _by_cause(code: str, text: str, cause: object) -> DaprError:
    if (own := _own(cause)) is not None:
        return own
    status, grpc_code = 500, GrpcCode.INTERNAL
    if isinstance(cause, EtagError):
        status = 400 if cause.invalid else 409
        grpc_code = GrpcCode.INVALID_ARGUMENT if cause.invalid else GrpcCode.ABORTED
    return DaprError.basic(code, text, http_status=status, grpc_code=grpc_code)


def _own(cause: object) -> DaprError | None:
    """The error itself, where a pluggable component says what the API is to answer."""
    return cause if isinstance(cause, DaprError) else None


def _app(app_id: str | None) -> Mapping[str, str] | None:
    return None if app_id is None else {"appID": app_id}
