"""Service invocation over HTTP: what every path that is no API route falls back to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import orjson
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # noqa: F401 - details of these types can be shown

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Header, Request, Response
from dapr_sidecar.api.http.responses import JSON_TYPE, text_response
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.blocks.invocation.targets import APP_ID_HEADER, HttpTarget, http_target
from dapr_sidecar.messaging.call import Answer, Invocation
from dapr_sidecar.messaging.headers import response_headers
from dapr_sidecar.messaging.statuses import http_from_grpc
from dapr_sidecar.messaging.wire import VERBS

_CODE = "ERR_DIRECT_INVOKE"
_EVENTS: list[Header] = [
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-cache"),
    (b"Connection", b"keep-alive"),
]
_EVENT_NAMES = frozenset({b"cache-control", b"connection"})
# Of the connection the request came over, not of the call.
_NOT_METADATA = frozenset({b"host", b"transfer-encoding"})
_NOT_METADATA_EITHER = _NOT_METADATA | {APP_ID_HEADER}


class InvocationApi:
    """The HTTP entrance."""

    def __init__(self, block: InvocationBlock) -> None:
        self._block = block

    async def handle(self, request: Request) -> Response:
        """Serve a request that names its target by header, credentials or path."""
        try:
            target = http_target(request)
        except ValueError as error:
            return text_response(str(error), 400)
        if target is None:
            raise DaprError(
                _CODE,
                "failed getting app id either from the URL path or the header dapr-app-id",
                http_status=404,
                grpc_code=GrpcCode.NOT_FOUND,
            )
        if not self._block.ready:
            raise DaprError(_CODE, "invoke API is not ready")
        call = _invocation(request, target)
        try:
            answer = await self._block.invoke(call)
            body = answer.body
            if not isinstance(body, bytes) and not answer.ok and not call.streaming:
                body = await answer.read(self._block.most_kept)
        except Exception as error:
            raise _failed(target.app_id, error) from error
        return _response(answer, call)


def _invocation(request: Request, target: HttpTarget) -> Invocation:
    left_out = _NOT_METADATA_EITHER if target.by_header else _NOT_METADATA
    content_type = request.header(b"content-type")
    body = request.body
    return Invocation(
        target.app_id,
        target.method,
        verb=_verb(request.method),
        query=request.query.decode("utf-8", "surrogateescape"),
        metadata=[pair for pair in request.headers if pair[0] not in left_out],
        content_type="" if content_type is None else content_type.decode("utf-8", "replace"),
        body=body,
        chunks=None if body is not None else request.chunks,
        content_length=None if body is not None else request.content_length,
        streaming=request.content_length is None,
    )


def _verb(method: str) -> str:
    """The verb an app is called with: one that Dapr does not know becomes POST."""
    if method in VERBS:
        return method
    upper = method.upper()
    return upper if upper in VERBS else "POST"


def _failed(app_id: str, error: Exception) -> Exception:
    denied = isinstance(error, RpcError) and error.code is GrpcCode.PERMISSION_DENIED
    return DaprError(
        _CODE,
        f"failed to invoke, id: {app_id}, err: {error}",
        http_status=403 if denied else 500,
    )


def _response(answer: Answer, call: Invocation) -> Response:
    status = answer.status
    if status < 100:
        if status:
            body = _status_json(status, answer.message, answer.details)
            return Response(http_from_grpc(status), [JSON_TYPE], body)
        status = 200
    headers, dated = response_headers(answer.headers)
    if 200 <= status < 300 and call.wants_events and (answer.events or not answer.status):
        headers = [pair for pair in headers if pair[0].lower() not in _EVENT_NAMES]
        events = answer.body
        if isinstance(events, bytes):
            events = _stream(events)  # a stream has no length, even when it is over already
        return Response(status, [*headers, *_EVENTS], events, dated=dated)
    if answer.content_type:
        headers.append((b"Content-Type", answer.content_type.encode("utf-8", "replace")))
    elif not 200 <= status < 400:
        headers.append(JSON_TYPE)
    return Response(status, headers, answer.body, dated=dated)


async def _stream(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


def _status_json(code: int, message: str, details: Sequence[Message]) -> bytes:
    shown: dict[str, object] = {"code": code}
    if message:
        shown["message"] = message
    if details:
        shown["details"] = [_detail_json(detail) for detail in details]
    return orjson.dumps(shown)


def _detail_json(detail: Message) -> object:
    from google.protobuf.json_format import MessageToDict

    try:
        return MessageToDict(detail)
    except TypeError:
        # A type only the app knows; its name is better than nothing.
        return {"@type": detail.type_url if isinstance(detail, any_pb2.Any) else ""}
