"""Service invocation over gRPC: ``InvokeService``."""

from __future__ import annotations

from google.rpc import error_details_pb2, status_pb2

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.runtime.v1 import invoke_pb2
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.messaging import wire
from dapr_sidecar.messaging.call import Answer, Invocation
from dapr_sidecar.messaging.headers import Metadata, grpc_metadata, pairs_from_metadata, with_trace
from dapr_sidecar.messaging.statuses import grpc_from_http, reason_phrase
from dapr_sidecar.resiliency.base import CircuitOpenError, PermanentError, PolicyTimeoutError

_CODE = "ERR_DIRECT_INVOKE"
_MAX_ERROR_TEXT = 63
_VERB_NAMES = {number: name for name, number in wire.VERBS.items()}


def methods(block: InvocationBlock) -> list[Method]:
    """The entrance's methods."""
    return [
        Method(
            "/dapr.proto.runtime.v1.Dapr/InvokeService",
            "unary_unary",
            invoke_pb2.InvokeServiceRequest,
            common_pb2.InvokeResponse,
            _Entrance(block).invoke_service,
        )
    ]


class _Entrance:
    def __init__(self, block: InvocationBlock) -> None:
        self._block = block

    async def invoke_service(
        self, request: invoke_pb2.InvokeServiceRequest, context: Context
    ) -> common_pb2.InvokeResponse:
        """Call an app and hand its whole answer back."""
        if not self._block.ready:
            raise DaprError(_CODE, "invoke API is not ready")
        call = _invocation(request, context)
        try:
            answer = await self._block.invoke(call)
            body = await answer.read(self._block.most_kept)
        except (PolicyTimeoutError, CircuitOpenError, PermanentError) as error:
            timed_out = isinstance(error, PolicyTimeoutError)
            code = GrpcCode.DEADLINE_EXCEEDED if timed_out else GrpcCode.UNKNOWN
            raise RpcError(code, str(error)) from error
        except Exception as error:
            raise DaprError(_CODE, f"failed to invoke, id: {request.id}, err: {error}") from error
        _answer_metadata(answer, context)
        if not _succeeded(answer):
            # Apart from the status, where clients look for it.
            context.send_initial_metadata()
            raise _status(answer, body)
        response = common_pb2.InvokeResponse(content_type=answer.content_type)
        response.data.value = body
        response.data.type_url = answer.type_url
        return response


def _invocation(request: invoke_pb2.InvokeServiceRequest, context: Context) -> Invocation:
    message = request.message
    verb = query = ""
    if message.HasField("http_extension"):
        extension = message.http_extension
        verb = _VERB_NAMES.get(extension.verb, "NONE")
        query = extension.querystring
    metadata = pairs_from_metadata(context.metadata)
    if all(name != b"content-type" for name, _ in metadata):
        # The mark of a gRPC origin, by which the other side reads the rest.
        metadata.append((b"content-type", b"application/grpc"))
    return Invocation(
        request.id,
        message.method,
        verb=verb,
        query=query,
        metadata=metadata,
        from_grpc=True,
        content_type=message.content_type,
        body=message.data.value,
        type_url=message.data.type_url,
    )


def _succeeded(answer: Answer) -> bool:
    return 200 <= answer.status < 300 or answer.status == 0


def _answer_metadata(answer: Answer, context: Context) -> None:
    headers: Metadata = grpc_metadata(answer.headers, from_grpc=answer.from_grpc)
    if answer.status >= 100:
        headers.append(("dapr-http-status", str(answer.status)))
    context.set_initial_metadata(with_trace(headers))
    if answer.trailers:
        context.set_trailers(grpc_metadata(answer.trailers, from_grpc=True))


def _status(answer: Answer, body: bytes) -> RpcError:
    if answer.status < 100:
        status = status_pb2.Status(code=answer.status, message=answer.message)
        for detail in answer.details:
            status.details.add().CopyFrom(detail)
        details = status.SerializeToString() if answer.details else b""
        return RpcError(answer.status, answer.message, details_bin=details)
    phrase = reason_phrase(answer.status)
    text = body[:_MAX_ERROR_TEXT].decode("utf-8", "ignore")
    detail = error_details_pb2.ErrorInfo(
        reason=phrase,
        domain="dapr.io",
        metadata={"http.code": str(answer.status), "http.error_message": text},
    )
    return RpcError(grpc_from_http(answer.status), phrase, [detail])
