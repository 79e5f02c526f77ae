"""gRPC proxying: methods nobody here serves go on to the app they are meant for, as raw frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.grpc.wire import frame
from dapr_common.observe.tracing import current_span
from dapr_sidecar.blocks.access_control import AccessControl
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.blocks.invocation.methods import normalise
from dapr_sidecar.blocks.invocation.targets import split_app_id
from dapr_sidecar.channel.base import AppUnhealthyError
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.components.metadata import is_truthy
from dapr_sidecar.messaging.headers import Metadata, trace_metadata, with_trace
from dapr_sidecar.resiliency.base import CodedError, PermanentError, PolicyTimeoutError, Runner

_CALLEE, _TARGET, _CALLER = "dapr-callee-app-id", "dapr-app-id", "dapr-caller-app-id"
_OWN_SERVICES = ("/dapr.proto.runtime.", "/dapr.proto.internals.")
_NO_TARGET = (
    "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
)
_NO_TARGET_FOREIGN = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
_NOT_FORWARDED = frozenset(
    {_TARGET, "te", "content-type", "user-agent", "grpc-timeout", "grpc-encoding"}
    | {"grpc-accept-encoding", "grpc-trace-bin", "traceparent", "tracestate"}
)
_GONE = (GrpcCode.UNAVAILABLE, GrpcCode.UNAUTHENTICATED)
Open = Callable[[bytes | None], Awaitable["_Upstream"]]


@dataclass(slots=True)
class _Upstream:
    """An open call towards the app, and what to do when it is over."""

    call: Call
    over: Callable[[], None] | None = None
    first: list[bytes] | None = None

    def close(self) -> None:
        self.call.cancel()
        over, self.over = self.over, None
        if over is not None:
            over()


class ProxyApi:
    """Proxies on the public server, and on the internal one for other sidecars."""

    def __init__(self, block: InvocationBlock, access_control: AccessControl | None) -> None:
        self._block = block
        self._access_control = access_control

    def method(self) -> Method:
        """The public server's fallback."""
        return Method("*", "stream_stream", None, None, self._public)

    def internal_method(self) -> Method:
        """The internal server's fallback."""
        return Method("*", "stream_stream", None, None, self._internal)

    def _public(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        return self._proxy(messages, context, internal=False)

    def _internal(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        return self._proxy(messages, context, internal=True)

    async def _proxy(
        self, messages: AsyncIterator[bytes], context: Context, *, internal: bool
    ) -> AsyncIterator[bytes]:
        target = _target(context)
        if target == self._block.context.identity.app_id:
            self._check(context, internal=internal)
            upstream_source: Open = _Local(self._block, context).open
            runner = None
        else:
            upstream_source = _Remote(self._block, context, target).open
            runner = self._runner(context)
        streaming = is_truthy(_text(context, "dapr-stream"))
        if runner is None or (not runner.retries and not streaming) or streaming:
            responses = _relay(messages, context, await _opened(upstream_source, runner))
        else:
            responses = _replayed(messages, context, upstream_source, runner)
        async with contextlib.aclosing(responses):
            async for message in responses:
                yield message

    def _check(self, context: Context, *, internal: bool) -> None:
        method = normalise(context.method)
        if internal and self._access_control is not None:
            identity = context.identity if isinstance(context.identity, str) else None
            self._access_control.check(identity, method, "NONE")

    def _runner(self, context: Context) -> Runner | None:
        named = _text(context, _TARGET)
        if not named:
            return None
        return self._block.context.policies.app(named, f"{named}:{context.method}")


# --- ways out -----------------------------------------------------------------------------------


class _Local:
    """To the app of this sidecar."""

    def __init__(self, block: InvocationBlock, context: Context) -> None:
        self._block = block
        self._context = context

    async def open(self, only: bytes | None) -> _Upstream:
        """Start the call; ``only`` is the whole input when it is known."""
        channel = self._block.context.channel
        if not isinstance(channel, AppGrpcChannel):
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        metadata = [p for p in _forwarded(self._context) if p[0] != "dapr-api-token"]
        timeout = self._context.remaining()
        try:
            call = await channel.open(
                normalise(self._context.method), with_trace(metadata), timeout
            )
        except AppUnhealthyError as error:
            raise RpcError(GrpcCode.INTERNAL, str(error)) from error
        if only is not None:
            await call.send(only)
            await call.half_close()
        return _Upstream(call, channel.leave)


class _Remote:
    """To the sidecar of another app."""

    def __init__(self, block: InvocationBlock, context: Context, target: str) -> None:
        self._block = block
        self._context = context
        self._target = target

    async def open(self, only: bytes | None) -> _Upstream:
        """Start the call; one reconnect is made when the sidecar cannot be reached."""
        own = self._block.context.identity
        try:
            app_id, namespace = split_app_id(self._target, own.invocation_namespace)
        except ValueError as error:
            raise RpcError(GrpcCode.UNKNOWN, str(error)) from error
        try:
            return await self._attempt(app_id, namespace, only)
        except RpcError as error:
            if error.code not in _GONE:
                raise
        return await self._attempt(app_id, namespace, only)

    async def _attempt(self, app_id: str, namespace: str, only: bytes | None) -> _Upstream:
        block = self._block
        try:
            address = await block.book.find(app_id, namespace)
        except LookupError as error:
            raise RpcError(GrpcCode.UNKNOWN, str(error)) from error
        metadata = _forwarded(self._context)
        metadata = [p for p in metadata if p[0] not in (_CALLER, _CALLEE)]
        metadata += [(_CALLER, block.context.identity.app_id), (_CALLEE, app_id)]
        if (span := current_span.get()) is not None:
            metadata += trace_metadata(span)
        channel = block.peers.channel(address, namespace, app_id)
        try:
            call = await channel.open(
                self._context.method,
                metadata,
                self._context.remaining(),
                frames=None if only is None else frame(only),
            )
        except RpcError as error:
            if error.code in _GONE:
                await block.peers.drop(address, namespace, app_id)
                block.book.forget(app_id, namespace, address)
            raise
        return _Upstream(call)


def _forwarded(context: Context) -> Metadata:
    return [pair for pair in context.metadata if pair[0] not in _NOT_FORWARDED]


def _target(context: Context) -> str:
    target = _text(context, _CALLEE) or _text(context, _TARGET)
    if not target:
        foreign = not context.method.startswith(_OWN_SERVICES)
        raise RpcError(GrpcCode.UNKNOWN, _NO_TARGET_FOREIGN if foreign else _NO_TARGET)
    return target


def _text(context: Context, name: str) -> str:
    value = context.get(name)
    return value if isinstance(value, str) else ""


# --- relaying -----------------------------------------------------------------------------------


async def _opened(source: Open, runner: Runner | None) -> _Upstream:
    if runner is None:
        return await source(None)
    try:
        return await runner.run(lambda: source(None))
    except (PermanentError, PolicyTimeoutError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> RpcError:
    timed_out = isinstance(error, PolicyTimeoutError)
    return RpcError(GrpcCode.DEADLINE_EXCEEDED if timed_out else GrpcCode.UNKNOWN, str(error))


async def _relay(
    messages: AsyncIterator[bytes], context: Context, upstream: _Upstream
) -> AsyncGenerator[bytes, None]:
    """Both directions at once, with the back-pressure of either end."""
    pump = asyncio.create_task(_pump(messages, upstream.call), name="grpc-proxy")
    try:
        async for message in _answers(context, upstream):
            yield message
    finally:
        pump.cancel()
        upstream.close()
        await asyncio.wait([pump])


async def _pump(messages: AsyncIterator[bytes], call: Call) -> None:
    try:
        async for message in messages:
            await call.send(message)
        await call.half_close()
    except RpcError:
        # Either end gave up. The answer side tells the client; the app must hear of it, too.
        call.cancel()


async def _answers(context: Context, upstream: _Upstream) -> AsyncGenerator[bytes, None]:
    call = upstream.call
    await call.initial_metadata()
    if not call.trailers_only:
        context.set_initial_metadata(call.initial)
        context.send_initial_metadata()
    for message in upstream.first or ():
        yield message
    while messages := await call.take():
        for message in messages:
            yield message
    context.set_trailers(call.trailers)


async def _replayed(
    messages: AsyncIterator[bytes], context: Context, source: Open, runner: Runner
) -> AsyncGenerator[bytes, None]:
    """A unary request under policies: kept, and sent again until an answer begins."""
    only = await anext(messages, None)
    if only is None:
        raise RpcError(GrpcCode.INTERNAL, "the call was closed without a message")
    if await anext(messages, None) is not None:
        raise RpcError(
            GrpcCode.FAILED_PRECONDITION,
            "cannot use resiliency policies with retries on streaming RPCs",
        )

    async def attempt() -> _Upstream:
        upstream: _Upstream | None = None
        try:
            upstream = await source(only)
            upstream.first = await upstream.call.take()
        except RpcError as error:
            if upstream is not None:
                upstream.close()
            raise CodedError(int(error.code), str(error), error) from error
        except BaseException:
            if upstream is not None:
                upstream.close()
            raise
        return upstream

    try:
        upstream = await runner.run(attempt)
    except CodedError as error:
        if isinstance(error.result, RpcError):
            raise error.result from error
        raise
    except (PermanentError, PolicyTimeoutError) as error:
        raise _refused(error) from error
    try:
        async for message in _answers(context, upstream):
            yield message
    finally:
        upstream.close()
