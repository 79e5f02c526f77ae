"""Request bodies that an API needs whole."""

from __future__ import annotations

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request


async def read_whole(request: Request) -> bytes:
    """The body. Raises ``DaprError`` when it is too long or does not arrive whole."""
    try:
        return await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        raise body_unread(error) from error


def body_unread(cause: Exception) -> DaprError:
    """The body is too long or did not arrive whole."""
    return DaprError(
        "ERR_BODY_READ",
        f"failed to read request body: {cause}",
        http_status=400,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
    )
