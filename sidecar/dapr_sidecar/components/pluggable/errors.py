"""What a pluggable component answers instead of a result, as errors of this process."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2

from dapr_common.errors import DaprError, ErrorInfo, GrpcCode
from dapr_common.grpc.errors import RpcError


class InvalidInputError(RpcError, ValueError):
    """The component says that a request is wrong."""


class AbsentError(RpcError, LookupError):
    """The component does not have what was asked for."""


_KINDS: dict[GrpcCode, type[RpcError]] = {
    GrpcCode.INVALID_ARGUMENT: InvalidInputError,
    GrpcCode.NOT_FOUND: AbsentError,
}


def translated(error: RpcError) -> Exception:
    """The error to raise for a status; the texts stay the component's."""
    found = details(error)
    if (whole := _whole(error, found)) is not None:
        return whole
    kind = _KINDS.get(error.code)
    if kind is None:
        return error
    return kind(error.code, error.message, details_bin=error.details_bin, trailers=error.trailers)


def details(error: RpcError) -> Sequence[AnyMessage]:
    """The details of a status; none when they cannot be read."""
    try:
        return list(error.status().details)
    except DecodeError:
        return ()


def violation(error: RpcError, field: str) -> str | None:
    """What the status says is wrong with a field; ``None`` when it says nothing of it."""
    for detail in details(error):
        request = error_details_pb2.BadRequest()
        if _unpack(detail, request):
            for one in request.field_violations:
                if one.field == field:
                    return str(one.description)
    return None


def _whole(error: RpcError, found: Sequence[AnyMessage]) -> DaprError | None:
    """A status that says how Dapr's API is to answer: a lone ``ErrorInfo`` marked ``kit_error``."""
    info = error_details_pb2.ErrorInfo()
    if len(found) != 1 or not _unpack(found[0], info) or info.metadata.get("kit_error") != "true":
        return None
    rest = dict(info.metadata)
    status, tag = rest.pop("http_code", ""), rest.pop("tag", "")
    del rest["kit_error"]
    number = int(status) if status.isascii() and status.isdigit() else 500
    return DaprError(
        tag or info.reason,
        error.message,
        http_status=number if 400 <= number < 600 else 500,
        grpc_code=error.code,
        details=(ErrorInfo(info.reason, rest, info.domain),),
    )


def _unpack(detail: AnyMessage, into: Message) -> bool:
    if detail.type_url.rpartition("/")[2] != into.DESCRIPTOR.full_name:
        return False
    try:
        return bool(detail.Unpack(into))
    except DecodeError:
        return False
