"""The request of a ``CallLocalStream``: its leading message, and the body as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.messaging import reading
from dapr_sidecar.messaging.call import Invocation

_KEPT_BYTES = 64 << 10
_BODILESS = frozenset({"GET", "HEAD"})
_PROBE_SECONDS = 0.2
_MOST_DIGITS = 18


class RequestBody:
    """A streamed request: its leading message, then the body.

    The body may go on for ever; ``most_kept`` is how much of it may be held in memory.
    """

    def __init__(self, messages: AsyncIterator[bytes], most_kept: int | None) -> None:
        self._messages = messages
        self._most_kept = most_kept
        self._payloads = reading.Payloads()
        self._first = b""
        self._next: bytes | None = None
        self._coming: asyncio.Future[bytes | None] | None = None

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
        call.most_kept = self._most_kept
        call.content_length = length
        if call.from_grpc or (length is not None and length <= _KEPT_BYTES):
            await call.keep_body()
        elif length is None and not self._first:
            await self._look_ahead(call)
        call.streaming = call.body is None and length is None
        return call, first.version

    def close(self) -> None:
        """Nobody wants the rest."""
        if self._coming is not None:
            self._coming.cancel()

    async def _look_ahead(self, call: Invocation) -> None:
        """Nothing was said about a body: see whether there is one.

        Where there may well be one this waits no longer than Go's HTTP client does; an app that
        speaks first is then asked for its answer.
        """
        if call.verb in _BODILESS:
            self._next = await anext(self._messages, None)
        else:
            coming = self._coming = asyncio.ensure_future(anext(self._messages, None))
            await asyncio.wait([coming], timeout=_PROBE_SECONDS)
            if not coming.done():
                return
            self._coming, self._next = None, coming.result()
        if self._next is None:
            call.body = b""

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        if self._coming is not None:
            self._next = await self._coming
            if self._next is None:
                return
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
        return self._payloads.of(message)


def _declared_length(call: Invocation) -> int | None:
    for name, value in call.metadata:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else None
    return None


def _unreadable(error: DecodeError) -> RpcError:
    return RpcError(GrpcCode.INTERNAL, f"grpc: error unmarshalling request: {error}")


def _incomplete() -> RpcError:
    return RpcError(
        GrpcCode.INVALID_ARGUMENT,
        "parsing InternalInvokeRequest error: request does not contain the required fields in "
        "the leading chunk",
    )
