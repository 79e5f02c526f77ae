"""Statuses of pluggable components as the errors of this process."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from dapr_common.errors import DaprError, ErrorInfo, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_sidecar.components.pluggable.errors import translated, violation


def bad_request(field: str) -> Message:
    detail = error_details_pb2.BadRequest()
    detail.field_violations.add(field=field, description="why")
    return detail


def info(**metadata: str) -> Message:
    return error_details_pb2.ErrorInfo(reason="WHY", domain="mine", metadata=metadata)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (GrpcCode.INVALID_ARGUMENT, ValueError),
        (GrpcCode.NOT_FOUND, LookupError),
        (GrpcCode.INTERNAL, RpcError),
        (GrpcCode.UNIMPLEMENTED, RpcError),
    ],
)
def test_kinds(code: GrpcCode, kind: type[Exception]) -> None:
    found = translated(RpcError(code, "text", (bad_request("x"),)))
    assert isinstance(found, kind)
    assert isinstance(found, RpcError)
    assert str(found) == f"rpc error: code = {code.go_name} desc = text"
    assert violation(found, "x") == "why"


def test_violations() -> None:
    assert violation(RpcError(GrpcCode.INTERNAL, ""), "etag") is None
    other = RpcError(GrpcCode.INTERNAL, "", (info(), bad_request("other")))
    assert violation(other, "etag") is None
    assert violation(RpcError(GrpcCode.INTERNAL, "", (info(), bad_request("etag"))), "etag")
    broken = RpcError(GrpcCode.INVALID_ARGUMENT, "text", details_bin=b"\xff\xff")
    assert violation(broken, "etag") is None
    assert isinstance(translated(broken), ValueError)


def test_an_error_for_the_api_as_it_is() -> None:
    detail = info(kit_error="true", http_code="418", tag="ERR_TEAPOT", more="m")
    found = translated(RpcError(GrpcCode.ABORTED, "text", (detail,)))
    assert isinstance(found, DaprError)
    assert (found.code, found.message, found.http_status) == ("ERR_TEAPOT", "text", 418)
    assert found.grpc_code is GrpcCode.ABORTED
    assert found.details == (ErrorInfo("WHY", {"more": "m"}, "mine"),)


@pytest.mark.parametrize("status", ["", "no", "200", "99999"])
def test_an_error_for_the_api_has_a_status(status: str) -> None:
    detail = info(kit_error="true", http_code=status)
    found = translated(RpcError(GrpcCode.ABORTED, "text", (detail,)))
    assert isinstance(found, DaprError)
    assert (found.code, found.http_status) == ("WHY", 500)


@pytest.mark.parametrize(
    "details",
    [(info(),), (info(kit_error="false"),), (info(kit_error="true"), bad_request("x"))],
)
def test_other_details_are_no_such_error(details: tuple[Message, ...]) -> None:
    assert isinstance(translated(RpcError(GrpcCode.ABORTED, "text", details)), RpcError)
