"""What callers are told when actor state, timers or reminders do not work, in Dapr's words."""

from __future__ import annotations

from dapr_common.errors import DaprError, GrpcCode


def malformed(cause: object) -> DaprError:
    """The request body cannot be read."""
    return DaprError(
        "ERR_MALFORMED_REQUEST",
        f"failed deserializing HTTP body: {cause}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )


def state_get(cause: object) -> DaprError:
    """State could not be read."""
    return DaprError("ERR_ACTOR_STATE_GET", f"error getting actor state: {cause}")


def state_save(cause: object) -> DaprError:
    """State could not be written."""
    return DaprError(
        "ERR_ACTOR_STATE_TRANSACTION_SAVE", f"error saving actor transaction state: {cause}"
    )


def operation_not_supported(operation: str) -> DaprError:
    """A transaction holds an unknown operation (gRPC)."""
    return DaprError.basic(
        "ERR_NOT_SUPPORTED_STATE_OPERATION",
        f"operation type {operation} not supported",
        http_status=400,
        grpc_code=GrpcCode.UNIMPLEMENTED,
    )


def timer_create(cause: object) -> DaprError:
    """A timer could not be started."""
    return DaprError("ERR_ACTOR_TIMER_CREATE", f"error creating actor timer: {cause}")


def reminder_not_hosted() -> DaprError:
    """Reminders belong to types the app hosts."""
    return DaprError(
        "ERR_ACTOR_REMINDER_NON_HOSTED",
        "operations on actor reminders are only possible on hosted actor types",
        http_status=403,
        grpc_code=GrpcCode.PERMISSION_DENIED,
    )


def reminder_create(cause: object) -> DaprError:
    """A reminder could not be stored."""
    return DaprError("ERR_ACTOR_REMINDER_CREATE", f"error creating actor reminder: {cause}")


def reminder_get(cause: object) -> DaprError:
    """A reminder could not be read."""
    return DaprError("ERR_ACTOR_REMINDER_GET", f"error getting actor reminder: {cause}")


def reminder_delete(cause: object) -> DaprError:
    """A reminder could not be deleted."""
    return DaprError("ERR_ACTOR_REMINDER_DELETE", f"error deleting actor reminder: {cause}")


def reminder_not_found(name: str) -> DaprError:
    """There is no reminder of this name."""
    return DaprError(
        "ERR_ACTOR_REMINDER_NOT_FOUND",
        f"actor reminder not found: {name}",
        http_status=404,
        grpc_code=GrpcCode.NOT_FOUND,
    )


def reminder_exists(name: str) -> DaprError:
    """There is one already, and it is not to be overwritten."""
    return DaprError(
        "ERR_ACTOR_REMINDER_ALREADY_EXISTS",
        f"actor reminder already exists: {name}",
        http_status=409,
        grpc_code=GrpcCode.ALREADY_EXISTS,
    )
