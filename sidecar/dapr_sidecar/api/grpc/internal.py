"""The internal gRPC server: calls from other sidecars into this one's application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from dapr_common.errors import DaprError, GrpcCode
from dapr_common.grpc import reflection
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.observe.tracing import RecordedSpan
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.api.grpc.errors import to_rpc_error
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
_KEPT_BYTES = 64 << 10
_BODILESS = frozenset({"GET", "HEAD"})
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

    Peers' identities come from the listener: ``identify`` must return the SPIFFE id.
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
        watch = telemetry.metering or telemetry.tracing
        self.server = GrpcServer(
            max_receive_bytes=settings.max_message_bytes,
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
        return wire.internal_response(answer, await answer.read())

    # --- stream -----------------------------------------------------------------------------

    async def _call_stream(
        self, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        request_body = _RequestBody(messages)
        call, version = await request_body.lead(self._block.context.identity.app_id)
        answer = await self._to_app(call, version, context)
        entries = wire.metadata_entries(_sent_headers(answer), spelled=not answer.from_grpc)
        body = answer.body
        if isinstance(body, bytes):
            chunks = wire.split(body)
            yield wire.leading_response(answer, entries, chunks[0])
            for seq, chunk in enumerate(chunks[1:], 1):
                yield wire.payload_message(chunk, seq, events=answer.events)
            return
        seq = 0
        try:
            # The head goes out at once, for bodies that take their time.
            yield wire.leading_response(answer, entries, b"")
            async for piece in body:
                for chunk in wire.split(piece):
                    yield wire.payload_message(chunk, seq, events=answer.events)
                    seq += 1
        finally:
            await answer.close()

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
        identity = context.identity if isinstance(context.identity, str) else None
        assert self._access_control is not None
        self._access_control.check(identity, call.method, call.verb or "NONE")

    def _start_span(self, call: Invocation, context: Context) -> None:
        app_id = self._block.context.identity.app_id
        self._telemetry.start_callee_span(context, f"CallLocal/{app_id}/{call.method}")
        span = context.scratch["span"]
        if isinstance(span, RecordedSpan):
            span.set("rpc.service", "ServiceInvocation")
            span.set("dapr.invoke_method", call.method)


def _sent_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [pair for pair in answer.headers if pair[0] not in _NOT_SENT]


def _caller_id(call: Invocation) -> str:
    for name, value in call.metadata:
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


class _RequestBody:
    """A streamed request: its leading message, then the body."""

    def __init__(self, messages: AsyncIterator[bytes]) -> None:
        self._messages = messages
        self._payloads = reading.Payloads()
        self._first = b""
        self._next: bytes | None = None

    async def lead(self, app_id: str) -> tuple[Invocation, int]:
        """The call and its version; its body is complete when that can be known at once."""
        raw = await anext(self._messages, None)
        if raw is None:
            raise _incomplete()
        try:
            first = reading.read_request(raw, app_id)
        except DecodeError as error:
            raise _unreadable(error) from error
        if not first.complete:
            raise _incomplete()
        if first.payload is not None:
            self._first = self._payloads.take(first.payload)
        call = first.call
        length = _declared_length(call)
        if length is not None and length == len(self._first):
            call.body = self._first
            return call, first.version
        call.chunks = self._chunks
        call.content_length = length
        if call.from_grpc or (length is not None and length <= _KEPT_BYTES):
            await call.keep_body()
        elif length is None and call.verb in _BODILESS:
            await self._look_ahead(call)
        call.streaming = call.body is None and length is None
        return call, first.version

    async def _look_ahead(self, call: Invocation) -> None:
        """A request that rarely has a body: see whether this one has."""
        self._next = await anext(self._messages, None)
        if self._next is None:
            call.body = self._first

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        if self._next is not None:
            yield self._data(self._next)
        async for raw in self._messages:
            yield self._data(raw)

    def _data(self, raw: bytes) -> bytes:
        try:
            message = internals.InternalInvokeRequestStream.FromString(raw)
        except DecodeError as error:
            raise _unreadable(error) from error
        if message.HasField("request"):
            request = message.request
            if request.metadata or request.HasField("message"):
                raise RpcError(GrpcCode.INTERNAL, "request metadata found in non-leading chunk")
        return self._payloads.take(message.payload) if message.HasField("payload") else b""


def _declared_length(call: Invocation) -> int | None:
    for name, value in call.metadata:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def _unreadable(error: DecodeError) -> RpcError:
    return RpcError(GrpcCode.INTERNAL, f"grpc: error unmarshalling request: {error}")


def _incomplete() -> RpcError:
    return RpcError(
        GrpcCode.INVALID_ARGUMENT,
        "parsing InternalInvokeRequest error: request does not contain the required fields in "
        "the leading chunk",
    )
