"""Bodies of the endpoints that take a protobuf message as JSON."""

from __future__ import annotations

import re
from typing import TypeVar

from google.protobuf.message import Message

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.http.messages import Request
from dapr_sidecar.api.http.bodies import read_whole

M = TypeVar("M", bound=Message)
_SPACE = b" \t\r\n"
_FIELD = re.compile(r"Failed to parse (\w+) field: ")
_OF_THE_LIBRARY = re.compile(
    r"Failed to parse JSON: |expected string|int\(\)|Bool value|dict|'\w+' object|<class|sys\."
)


async def read_message(request: Request, kind: type[M]) -> M:
    """The body as a message; unknown fields are ignored, no body is an empty one.

    Raises ``DaprError``.
    """
    body = await read_whole(request)
    message = kind()
    if body:
        from google.protobuf import json_format

        try:
            if not body.lstrip(_SPACE).startswith(b"{"):
                raise ValueError("expected a JSON object")  # the library takes some other values
            json_format.Parse(body, message, ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            text = f"failed deserializing HTTP body: {_told(error)}"
            raise _bad("ERR_MALFORMED_REQUEST", text) from error
    return message


def _told(error: Exception) -> str:
    """What is wrong, in words that do not need Python to be understood."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not valid UTF-8"
    text = str(error)
    if "recursion" in text:
        return "it is nested too deeply"
    if _OF_THE_LIBRARY.search(text) is None:
        return text
    if fields := _FIELD.findall(text):
        return f"the value of {'.'.join(fields)} does not fit"
    return "a value in it does not fit"


def _bad(code: str, text: str) -> DaprError:
    return DaprError(code, text, http_status=400, grpc_code=GrpcCode.INVALID_ARGUMENT)
