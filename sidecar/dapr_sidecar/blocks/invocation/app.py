"""The last step of a call: into the application of this sidecar."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from google.protobuf import any_pb2

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.client import ClientResponse
from dapr_common.http.messages import Handler, Request, Response
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_sidecar.channel.base import AppUnhealthyError, HttpAppChannel
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.components.middleware.pipeline import Wrapper, wrapped
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.call import Answer, Invocation
from dapr_sidecar.messaging.headers import app_metadata, pairs_from_metadata, request_headers
from dapr_sidecar.messaging.wire import VERBS

_ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
_PATH_SAFE = "/:@!$&'()*+,;=-._~"
_BLANK = re.compile(rb"[\x00-\x20\x7f]")
_SAFE = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:@!$&'()*+,;=-._~"
)


class ResponseBody:
    """The body of an HTTP answer, given back to its pool even when nobody reads it."""

    __slots__ = ("_chunks", "_response")

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self._chunks = response.chunks()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        """Stop reading."""
        self._response.close()


class AppCaller:
    """Calls the local app over whatever protocol it speaks."""

    def __init__(self, context: SidecarContext) -> None:
        self._context = context
        self._pipeline: Handler | None = None

    def set_middlewares(self, wrappers: Sequence[Wrapper]) -> None:
        """Wrap calls to an HTTP app in these from now on."""
        self._pipeline = wrapped(self._through_channel, wrappers) if wrappers else None

    async def call(self, call: Invocation) -> Answer:
        """Call the app. Raises ``RpcError`` or ``OSError``."""
        channel = self._context.channel
        if channel is None:
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        try:
            if channel.kind == "http":
                return await self._http(channel, call)
            assert isinstance(channel, AppGrpcChannel)
            return await _grpc(channel, call)
        except AppUnhealthyError as error:
            raise RpcError(GrpcCode.INTERNAL, str(error)) from error

    async def _http(self, channel: HttpAppChannel, call: Invocation) -> Answer:
        check_verb(call)
        headers = request_headers(call.metadata, call.content_type, from_grpc=call.from_grpc)
        target = http_path(call)
        if self._pipeline is not None:
            return await self._piped(call, target)
        response = await channel.request(
            call.verb, target, headers, call.outgoing(), content_length=call.content_length
        )
        return await http_answer(call, response)

    async def _piped(self, call: Invocation, target: bytes) -> Answer:
        path, _, query = target.partition(b"?")
        headers = request_headers(call.metadata, call.content_type, from_grpc=call.from_grpc)
        request = Request(
            call.verb,
            path,
            query,
            [(name.lower(), value) for name, value in headers],
            body=await call.keep_body(),
        )
        assert self._pipeline is not None
        response = await self._pipeline(request)
        pairs = [(name.lower(), value) for name, value in response.headers]
        content_type = next((v for n, v in pairs if n == b"content-type"), b"")
        return Answer(response.status, pairs, content_type.decode("latin-1"), response.body)

    async def _through_channel(self, request: Request) -> Response:
        channel = self._context.channel
        if channel is None or channel.kind != "http":
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        query = b"?" + request.query if request.query else b""
        body = await request.read()
        headers = [pair for pair in request.headers if pair[0] != b"content-length"]
        response = await channel.request(request.method, request.path + query, headers, body)
        if response.complete:
            return Response(response.status, response.headers, await response.read())
        return Response(response.status, response.headers, ResponseBody(response))


def check_verb(call: Invocation) -> None:
    """An HTTP app needs a verb. Raises ``RpcError`` (invalid argument)."""
    if not call.verb:
        raise RpcError(GrpcCode.INVALID_ARGUMENT, "missing HTTP extension field")
    if call.verb in ("NONE", "CONNECT"):
        raise RpcError(GrpcCode.INVALID_ARGUMENT, "invalid HTTP verb")


def http_path(call: Invocation) -> bytes:
    """The request target: the method with one slash before it, and the query as it came."""
    raw = call.method.encode("utf-8", "surrogateescape")
    if not _SAFE.issuperset(raw):
        raw = quote(raw, safe=_PATH_SAFE).encode()
    if raw[:1] != b"/":
        raw = b"/" + raw
    if call.query:
        return raw + b"?" + query_bytes(call.query)
    return raw


def query_bytes(query: str) -> bytes:
    """A query as it came, without what would end the request line."""
    return without_blanks(query.encode("utf-8", "surrogateescape"))


def without_blanks(raw: bytes) -> bytes:
    """Percent-encode what may not stand in a request line."""
    if _BLANK.search(raw) is None:
        return raw
    return _BLANK.sub(lambda found: b"%%%02X" % found[0][0], raw)


async def http_answer(call: Invocation, response: ClientResponse) -> Answer:
    """An HTTP app's answer; an error's body is complete unless the request was a stream."""
    status = response.status
    content_type = (response.header(b"content-type") or b"").decode("utf-8", "replace")
    if response.complete or (not 200 <= status < 400 and not call.streaming):
        body: bytes | AsyncIterator[bytes] = await response.read()
    else:
        body = ResponseBody(response)
    answer = Answer(status, response.headers, content_type, body)
    if 200 <= status < 300 and call.wants_events:
        answer.events = True
    return answer


async def _grpc(channel: AppGrpcChannel, call: Invocation) -> Answer:
    body = await call.keep_body()
    request = common_pb2.InvokeRequest(
        method=call.method,
        data=any_pb2.Any(value=body, type_url=call.type_url),
        content_type=call.content_type,
    )
    if call.verb:
        extension = request.http_extension
        extension.verb = VERBS.get(call.verb, VERBS["POST"])  # type: ignore[assignment]
        extension.querystring = call.query
        extension.SetInParent()
    metadata = app_metadata(call.metadata, from_grpc=call.from_grpc)
    try:
        result = await channel.call(
            _ON_INVOKE, request, common_pb2.InvokeResponse, metadata=metadata
        )
    except RpcError as error:
        status = error.status()
        return Answer(
            int(error.code),
            (),
            "",
            b"",
            from_grpc=True,
            message=error.message,
            details=list(status.details),
            trailers=[pair for pair in error.trailers if pair[0] != b"content-type"],
        )
    message = result.message
    return Answer(
        0,
        pairs_from_metadata(result.initial_metadata),
        message.content_type,
        message.data.value,
        from_grpc=True,
        trailers=pairs_from_metadata(result.trailers),
        type_url=message.data.type_url,
    )
