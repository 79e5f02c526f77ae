"""The internal gRPC server: calls from other sidecars into this one's application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc import reflection
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.observe.tracing import RecordedSpan
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.api.grpc.errors import to_rpc_error
from dapr_sidecar.api.grpc.request_body import RequestBody
from dapr_sidecar.blocks.access_control import AccessControl
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.blocks.invocation.methods import normalise
from dapr_sidecar.messaging import reading, wire
from dapr_sidecar.messaging.call import Answer, Invocation
from dapr_sidecar.messaging.remote import SERVICE
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry

_PING_SECONDS, _PING_TIMEOUT = 10.0, 5.0
_MIN_CLIENT_PING_SECONDS = 8.0
_IDLE_SECONDS = 180.0
_NOT_SENT = frozenset({b"content-length", b"transfer-encoding"})
_CALLER = b"dapr-caller-app-id"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalApiSettings:
    """Limits of the internal server; sizes in bytes."""

    max_message_bytes: int | None
    read_buffer_bytes: int


class InternalApi:
    """Builds the internal server; ``server.listen_tcp`` is the runtime's to call.

    Peers' identities come from the listener: ``identify`` must return a ``SpiffeId``.
    """

    def __init__(
        self,
        block: InvocationBlock,
        access_control: AccessControl | None,
        proxy: Method | None,
        telemetry: GrpcServerTelemetry,
        settings: InternalApiSettings,
    ) -> None:
        self._block = block
        self._access_control = access_control
        self._telemetry = telemetry
        self._most_kept = settings.max_message_bytes
        watch = telemetry.metering or telemetry.tracing
        self.server = GrpcServer(
            max_receive_bytes=wire.message_limit(settings.max_message_bytes),
            max_header_list_bytes=settings.read_buffer_bytes * 1024,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_TIMEOUT,
            min_client_ping_interval=_MIN_CLIENT_PING_SECONDS,
            max_idle=_IDLE_SECONDS,
            enter=telemetry.start_callee_span if telemetry.tracing else None,
            after=telemetry.finish if watch else None,
            map_error=_map_error,
        )
        for method in (*self.methods(), *reflection.methods(lambda: self.server.services)):
            self.server.add(method)
        self.server.fallback = proxy

    def methods(self) -> list[Method]:
        """``CallLocal`` and ``CallLocalStream``."""
        return [
            Method(
                SERVICE + "CallLocal",
                "unary_unary",
                internals.InternalInvokeRequest,
                internals.InternalInvokeResponse,
                self._call_local,
            ),
            Method(SERVICE + "CallLocalStream", "stream_stream", None, None, self._call_stream),
        ]

    # --- unary ------------------------------------------------------------------------------

    async def _call_local(
        self, request: internals.InternalInvokeRequest, context: Context
    ) -> internals.InternalInvokeResponse:
        if not request.HasField("message"):
            raise RpcError(
                GrpcCode.INVALID_ARGUMENT,
                "parsing InternalInvokeRequest error: Message is nil",
            )
        call = reading.invocation_of(request, self._block.context.identity.app_id)
        call.body = request.message.data.value
        answer = await self._to_app(call, request.ver, context)
        return wire.internal_response(answer, await answer.read(self._most_kept))

    # --- stream -----------------------------------------------------------------------------

    async def _call_stream(self, messages: AsyncIterator[bytes], context: Context) -> None:
        request_body = RequestBody(messages, self._most_kept)
        try:
            call, version = await request_body.lead(self._block.context.identity.app_id)
            answer = await self._to_app(call, version, context)
            await _send(answer, context)
        finally:
            request_body.close()

    async def _to_app(self, call: Invocation, version: int, context: Context) -> Answer:
        call.method = normalise(call.method)
        if self._telemetry.tracing:
            self._start_span(call, context)
        if self._access_control is not None:
            self._check(call, context)
        if version != _VERSION:
            text = f"Unsupported spec version: {version}"
            raise _channel_failed(RpcError(GrpcCode.UNIMPLEMENTED, text))
        metrics = self._block.context.metrics
        caller = _caller_id(call)
        metrics.invocation_request_received(caller)
        if self._block.context.channel is None:
            metrics.invocation_response_sent(caller, 500)
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        try:
            answer = await self._block.app.call(call)
        except Exception as error:
            metrics.invocation_response_sent(caller, 500)
            raise _channel_failed(error) from error
        metrics.invocation_response_sent(caller, answer.status)
        return answer

    def _check(self, call: Invocation, context: Context) -> None:
        caller = context.identity if isinstance(context.identity, SpiffeId) else None
        assert self._access_control is not None
        self._access_control.check(caller, call.method, call.verb or "NONE")

    def _start_span(self, call: Invocation, context: Context) -> None:
        app_id = self._block.context.identity.app_id
        self._telemetry.start_callee_span(context, f"CallLocal/{app_id}/{call.method}")
        span = context.scratch["span"]
        if isinstance(span, RecordedSpan):
            span.set("rpc.service", "ServiceInvocation")
            span.set("dapr.invoke_method", call.method)


async def _send(answer: Answer, context: Context) -> None:
    entries = wire.metadata_entries(_sent_headers(answer), spelled=not answer.from_grpc)
    body = answer.body
    if isinstance(body, bytes):
        first, *chunks = wire.split(body)
        await context.send(wire.leading_response(answer, entries, first))
        for seq, chunk in enumerate(chunks, 1):
            await context.send(wire.payload_message(chunk, seq, events=answer.events))
        return
    seq = 0
    try:
        # The head goes out at once, for bodies that take their time.
        await context.send(wire.leading_response(answer, entries, b""))
        async for piece in body:
            for chunk in wire.split(piece):
                await context.send(wire.payload_message(chunk, seq, events=answer.events))
                seq += 1
    finally:
        await answer.close()


def _sent_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [pair for pair in answer.headers if pair[0] not in _NOT_SENT]


def _caller_id(call: Invocation) -> str:
    for name, value in reversed(call.metadata):  # sidecars put it near the end
        if name == _CALLER:
            return value.decode("utf-8", "replace")
    return ""


def _channel_failed(error: Exception) -> RpcError:
    return RpcError(GrpcCode.INTERNAL, f"error invoking app channel: {error}")


def _map_error(error: Exception) -> RpcError | None:
    if isinstance(error, DaprError):
        return to_rpc_error(error)
    if isinstance(error, reading.SequenceError):
        return RpcError(GrpcCode.INTERNAL, str(error))
    if isinstance(error, OSError):
        return RpcError(GrpcCode.INTERNAL, f"error invoking app channel: {error}")
    return None
