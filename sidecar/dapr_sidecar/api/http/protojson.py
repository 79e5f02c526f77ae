"""Bodies of the endpoints that take a protobuf message as JSON."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request

M = TypeVar("M", bound=Message)
_SPACE = b" \t\r\n"


async def read_message(request: Request, kind: type[M]) -> M:
    """The body as a message; unknown fields are ignored, no body is an empty one.

    Raises ``DaprError``.
    """
    try:
        body = await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        raise _bad("ERR_BODY_READ", f"failed to read request body: {error}") from error
    message = kind()
    if body:
        from google.protobuf import json_format

        try:
            if not body.lstrip(_SPACE).startswith(b"{"):
                raise ValueError("expected a JSON object")  # the library takes some other values
            json_format.Parse(body, message, ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            text = f"failed deserializing HTTP body: {error}"
            raise _bad("ERR_MALFORMED_REQUEST", text) from error
    return message


def _bad(code: str, text: str) -> DaprError:
    return DaprError(code, text, http_status=400, grpc_code=GrpcCode.INVALID_ARGUMENT)
