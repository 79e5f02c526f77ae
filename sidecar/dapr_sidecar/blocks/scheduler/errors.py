"""What callers of the Jobs API are told, in Dapr's words."""

from __future__ import annotations

from dapr_common.errors import DaprError, ErrorInfo, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_sidecar.identity import SidecarIdentity

_HTTP_STATUS = {
    GrpcCode.CANCELLED: 408,
    GrpcCode.INVALID_ARGUMENT: 400,
    GrpcCode.DEADLINE_EXCEEDED: 504,
    GrpcCode.NOT_FOUND: 404,
    GrpcCode.ALREADY_EXISTS: 409,
    GrpcCode.PERMISSION_DENIED: 403,
    GrpcCode.UNAUTHENTICATED: 401,
    GrpcCode.RESOURCE_EXHAUSTED: 429,
    GrpcCode.FAILED_PRECONDITION: 400,
    GrpcCode.ABORTED: 409,
    GrpcCode.OUT_OF_RANGE: 400,
    GrpcCode.UNIMPLEMENTED: 501,
    GrpcCode.UNAVAILABLE: 503,
}


class SchedulerDisabledError(Exception):
    """No scheduler is configured."""

    def __init__(self) -> None:
        super().__init__("scheduler clients are disabled")


def bad(identity: SidecarIdentity, code: str, message: str) -> DaprError:
    """The request itself is wrong."""
    return DaprError(
        code,
        message,
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(_info(identity, code),),
    )


def name_in_body(identity: SidecarIdentity) -> DaprError:
    """Over HTTP a job's name stands in the URL."""
    code = "DAPR_SCHEDULER_JOB_NAME"
    return DaprError(
        code,
        "Set the job name in the url only",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(ErrorInfo(code, {"appID": identity.app_id}),),
    )


def schedule_failed(identity: SidecarIdentity, cause: Exception) -> DaprError:
    """The scheduler did not take a job; its code is kept."""
    code = GrpcCode.INTERNAL
    if isinstance(cause, RpcError) and cause.code is not GrpcCode.UNKNOWN:
        code = cause.code
    name = "DAPR_SCHEDULER_SCHEDULE_JOB"
    return DaprError(
        name,
        f"failed to schedule job due to: {text_of(cause)}",
        http_status=_HTTP_STATUS.get(code, 500),
        grpc_code=code,
        details=(_info(identity, name),),
    )


def failed(identity: SidecarIdentity, verb: str, code: str, cause: Exception) -> DaprError:
    """Another call to the scheduler failed."""
    text = f"failed to {verb} due to: {text_of(cause)}"
    return DaprError(code, text, details=(_info(identity, code),))


def text_of(cause: Exception) -> str:
    """A status as Go prints it, anything else as it is."""
    if isinstance(cause, RpcError):
        return f"rpc error: code = {cause.code.go_name} desc = {cause.message}"
    return str(cause)


def _info(identity: SidecarIdentity, code: str) -> ErrorInfo:
    return ErrorInfo(code, {"appID": identity.app_id, "namespace": identity.invocation_namespace})
