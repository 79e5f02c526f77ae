"""Errors as gRPC statuses, in one place."""

from __future__ import annotations

from typing import Any

from google.rpc import error_details_pb2

from dapr_common.errors import BadRequest, DaprError, Detail, ErrorInfo, ResourceInfo
from dapr_common.grpc.errors import RpcError


def to_rpc_error(error: DaprError) -> RpcError:
    """The status of a failure an API caller is told about, rich details included."""
    details = [*error.details, *error.grpc_details]
    return RpcError(error.grpc_code, error.message, [_detail(detail) for detail in details])


def _detail(detail: Detail) -> Any:
    if isinstance(detail, ErrorInfo):
        return error_details_pb2.ErrorInfo(
            reason=detail.reason, domain=detail.domain, metadata=dict(detail.metadata or {})
        )
    if isinstance(detail, ResourceInfo):
        return error_details_pb2.ResourceInfo(
            resource_type=detail.resource_type,
            resource_name=detail.resource_name,
            owner=detail.owner,
            description=detail.description,
        )
    if isinstance(detail, BadRequest):
        violation = error_details_pb2.BadRequest.FieldViolation
        return error_details_pb2.BadRequest(
            field_violations=[violation(field=f, description=d) for f, d in detail.violations]
        )
    link = error_details_pb2.Help.Link
    return error_details_pb2.Help(links=[link(description=d, url=u) for d, u in detail.links])
