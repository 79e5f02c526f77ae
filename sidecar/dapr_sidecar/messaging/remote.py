"""Calls to applications of other sidecars: ``CallLocalStream``, or ``CallLocal`` for old peers."""

from __future__ import annotations

import asyncio
import contextlib
from operator import itemgetter

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError, UnprocessedError
from dapr_common.http.messages import Header
from dapr_common.observe.tracing import current_span
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.messaging import reading, wire
from dapr_sidecar.messaging.call import Answer, Invocation, InvocationError
from dapr_sidecar.messaging.headers import trace_metadata
from dapr_sidecar.messaging.peers import Peers
from dapr_sidecar.messaging.resolve import AddressBook

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"
_STREAM = SERVICE + "CallLocalStream"
_UNARY = SERVICE + "CallLocal"
_GONE = (GrpcCode.UNAVAILABLE, GrpcCode.UNAUTHENTICATED)
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"forwarded"})
_REPLACED = frozenset(
    {b"destination-app-id", b"dapr-caller-namespace", b"dapr-caller-app-id", b"dapr-callee-app-id"}
)
_SPECIAL = _FORWARDED | _REPLACED
_KEPT_TARGETS = 256
_ELSEWHERE = 2  # looks for another instance, without a pause
_NAME = itemgetter(0)


class RemoteCaller:
    """Makes one attempt at a time; retries are the block's business.

    An instance that has not begun to process a call (it stops, or is gone already) is no attempt:
    the call goes to the next one at once.
    """

    def __init__(self, identity: SidecarIdentity, book: AddressBook, peers: Peers) -> None:
        self._identity = identity
        self._book = book
        self._peers = peers
        self._added: dict[str, tuple[list[Header], bytes]] = {}

    async def call(self, call: Invocation, app_id: str, namespace: str) -> Answer:
        """Call an app through its sidecar. Raises ``RpcError``, ``LookupError`` and the like."""
        address = await self._book.find(app_id, namespace)
        for _ in range(_ELSEWHERE):
            try:
                return await self._call(call, app_id, namespace, address)
            except UnprocessedError:
                if not call.intact:
                    raise
                before = address
                with contextlib.suppress(LookupError):
                    address = await self._book.find(app_id, namespace)
                if address == before:
                    raise
        return await self._call(call, app_id, namespace, address)

    async def _call(self, call: Invocation, app_id: str, namespace: str, address: str) -> Answer:
        channel = self._peers.channel(address, namespace, app_id)
        try:
            return await self._stream(channel, call, app_id)
        except RpcError as error:
            if error.code in _GONE:
                await self._peers.drop(channel)
                self._book.forget(app_id, namespace, address)
            elif error.code is GrpcCode.UNIMPLEMENTED:
                return await self._unary(channel, call, app_id)
            raise

    # --- metadata ---------------------------------------------------------------------------

    def _entries(self, call: Invocation, app_id: str) -> bytes:
        added = self._added.get(app_id)
        if added is None:
            pairs = self._own_pairs(app_id)
            added = (
                pairs,
                b"".join(
                    [wire.metadata_entries([pair], spelled=pair[0] in _FORWARDED) for pair in pairs]
                ),
            )
            if len(self._added) < _KEPT_TARGETS:
                self._added[app_id] = added
        metadata = call.metadata
        if _SPECIAL.isdisjoint(map(_NAME, metadata)):
            return wire.metadata_entries(metadata, spelled=not call.from_grpc) + added[1]
        kept = [pair for pair in metadata if pair[0] not in _REPLACED]
        return wire.metadata_entries([*kept, *added[0]], spelled=not call.from_grpc)

    def _own_pairs(self, app_id: str) -> list[Header]:
        own = self._identity
        host, name = own.host_address.encode(), own.hostname.encode()
        shown = b'"[%b]"' % host if b":" in host else host
        return [
            (b"x-forwarded-for", host),
            (b"x-forwarded-host", name),
            (b"forwarded", b"for=%b;by=%b;host=%b" % (shown, shown, name)),
            (b"destination-app-id", app_id.encode()),
            (b"dapr-caller-namespace", own.invocation_namespace.encode()),
            (b"dapr-caller-app-id", own.app_id.encode()),
            (b"dapr-callee-app-id", app_id.encode()),
        ]

    # --- the stream -------------------------------------------------------------------------

    async def _stream(self, channel: GrpcChannel, call: Invocation, app_id: str) -> Answer:
        entries = self._entries(call, app_id)
        span = current_span.get()
        metadata = () if span is None else trace_metadata(span)
        if call.body is not None:
            frames = wire.request_frames(call, entries, call.body)
            stream = await channel.open(_STREAM, metadata, frames=frames)
            try:
                return await self._answer(stream, None)
            except BaseException:
                stream.cancel()
                raise
        stream = await channel.open(_STREAM, metadata)
        sender = _Sender(stream, call, entries)
        try:
            answer = await self._answer(stream, sender)
            if isinstance(answer.body, bytes):
                await sender.stop()
            return answer
        except BaseException as error:
            stream.cancel()
            await sender.stop()
            if sender.error is not None and not isinstance(error, GeneratorExit):
                raise sender.error from error
            raise

    async def _answer(self, stream: Call, sender: _Sender | None) -> Answer:
        messages = await stream.take()
        if not messages:
            raise RpcError(GrpcCode.INTERNAL, "response does not contain the required fields")
        first = reading.read_response(messages[0])
        if not first.complete:
            raise InvocationError(
                "response does not contain the required fields in the leading chunk"
            )
        answer = first.answer
        payloads = reading.Payloads()
        data = b"" if first.payload is None else payloads.take(first.payload)
        if len(messages) == 1 and stream.ended:
            answer.body = data or answer.body
            return answer
        if stream.ended:
            answer.body = data + b"".join([_rest(raw, payloads) for raw in messages[1:]])
            return answer
        answer.body = _Body(stream, sender, data, messages[1:], payloads)
        return answer

    async def _unary(self, channel: GrpcChannel, call: Invocation, app_id: str) -> Answer:
        if call.body is None or call.streaming:
            raise InvocationError(
                f"target app '{app_id}' is running a version of Dapr that does not support "
                "streaming-based service invocation"
            )
        span = current_span.get()
        request = wire.internal_request(call, self._entries(call, app_id), call.body)
        result = await channel.unary(
            _UNARY,
            request,
            internals.InternalInvokeResponse,
            metadata=() if span is None else trace_metadata(span),
        )
        return reading.answer_of(result.message)


def _rest(raw: bytes, payloads: reading.Payloads) -> bytes:
    message = internals.InternalInvokeResponseStream.FromString(raw)
    if message.HasField("response"):
        response = message.response
        if response.HasField("status") or response.headers or response.HasField("message"):
            raise InvocationError("response metadata found in non-leading chunk")
    return payloads.of(message)


class _Body:
    """The rest of an answer as it arrives; closing it early ends the call."""

    __slots__ = ("_messages", "_payloads", "_piece", "_sender", "_stream")

    def __init__(
        self,
        stream: Call,
        sender: _Sender | None,
        data: bytes,
        messages: list[bytes],
        payloads: reading.Payloads,
    ) -> None:
        self._stream = stream
        self._sender = sender
        self._piece = data
        self._messages = messages
        self._payloads = payloads

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        piece, self._piece = self._piece, b""
        try:
            while not piece:
                messages, self._messages = self._messages, []
                if not messages and not (messages := await self._stream.take()):
                    break
                # One piece per network read, not one per 2 KiB chunk.
                piece = b"".join([_rest(raw, self._payloads) for raw in messages])
        except BaseException:
            await self.aclose()
            raise
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """End the call."""
        self._stream.cancel()
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.stop()


class _Sender:
    """Sends a body that is still arriving, beside whoever waits for the answer."""

    def __init__(self, stream: Call, call: Invocation, entries: bytes) -> None:
        self.error: Exception | None = None
        self._task = asyncio.create_task(self._run(stream, call, entries), name="invoke-body")

    async def _run(self, stream: Call, call: Invocation, entries: bytes) -> None:
        seq = 0
        try:
            # The head goes out at once: the other side may answer before the body is complete.
            await stream.send(wire.leading_request(call, entries, b""))
            async for piece in call.begin():
                for chunk in wire.split(piece):
                    await stream.send(wire.payload_message(chunk, seq))
                    seq += 1
            await stream.half_close()
        except RpcError:
            pass  # the call ended; who waits for its answer is told
        except Exception as error:  # noqa: BLE001 - raised by who waits for the answer
            self.error = error
            stream.cancel()

    async def stop(self) -> None:
        """Stop sending."""
        self._task.cancel()
        await asyncio.wait([self._task])
