from __future__ import annotations

import grpc
import pytest

from dapr_common.errors import DaprError, ErrorInfo, GrpcCode

GO_NAMES = {
    GrpcCode.OK: "OK",
    GrpcCode.CANCELLED: "Canceled",
    GrpcCode.UNKNOWN: "Unknown",
    GrpcCode.INVALID_ARGUMENT: "InvalidArgument",
    GrpcCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    GrpcCode.NOT_FOUND: "NotFound",
    GrpcCode.ALREADY_EXISTS: "AlreadyExists",
    GrpcCode.PERMISSION_DENIED: "PermissionDenied",
    GrpcCode.RESOURCE_EXHAUSTED: "ResourceExhausted",
    GrpcCode.FAILED_PRECONDITION: "FailedPrecondition",
    GrpcCode.ABORTED: "Aborted",
    GrpcCode.OUT_OF_RANGE: "OutOfRange",
    GrpcCode.UNIMPLEMENTED: "Unimplemented",
    GrpcCode.INTERNAL: "Internal",
    GrpcCode.UNAVAILABLE: "Unavailable",
    GrpcCode.DATA_LOSS: "DataLoss",
    GrpcCode.UNAUTHENTICATED: "Unauthenticated",
}


@pytest.mark.parametrize("code", list(GrpcCode))
def test_codes_have_gos_names(code: GrpcCode) -> None:
    assert code.go_name == GO_NAMES[code]


def test_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in GrpcCode} == {
        code.name: code.value[0] for code in grpc.StatusCode
    }


def test_an_error_is_its_message() -> None:
    error = DaprError("ERR_X", "it failed", details=[ErrorInfo("R")])
    assert str(error) == error.message == "it failed"
    assert (error.http_status, error.grpc_code) == (500, GrpcCode.INTERNAL)
    assert error.details == (ErrorInfo("R", None, "dapr.io"),)
    assert error.grpc_details == ()


def test_a_basic_error_says_more_over_grpc_only() -> None:
    error = DaprError.basic("ERR_X", "it failed", http_status=400)
    assert error.details == ()
    assert error.grpc_details == (ErrorInfo("ERR_X", {}),)
    assert error.http_status == 400
