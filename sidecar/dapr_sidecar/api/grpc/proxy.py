"""gRPC proxying: methods nobody here serves go on to the app they are meant for, as raw frames."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.observe.tracing import current_span
from dapr_common.security.spiffe import SpiffeId
from dapr_common.words import is_truthy
from dapr_sidecar.api.grpc.relay import Open, Upstream, guarded, opened, relayed
from dapr_sidecar.blocks.access_control import AccessControl
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.blocks.invocation.methods import normalise
from dapr_sidecar.blocks.invocation.targets import split_app_id
from dapr_sidecar.channel.base import AppUnhealthyError
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.messaging.headers import Metadata, trace_metadata
from dapr_sidecar.resiliency.base import Runner

_CALLEE, _TARGET, _CALLER = "dapr-callee-app-id", "dapr-app-id", "dapr-caller-app-id"
_OWN_SERVICES = ("/dapr.proto.runtime.", "/dapr.proto.internals.")
_NO_TARGET = (
    "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
)
_NO_TARGET_FOREIGN = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
_TASK_HUB = "/TaskHubSidecarService/"  # what workflow SDKs speak to their sidecar
_NO_WORKFLOWS = "this sidecar has no workflows"
_NOT_FORWARDED = frozenset(
    {_TARGET, "te", "content-type", "user-agent", "grpc-timeout", "grpc-encoding"}
    | {"grpc-accept-encoding"}
)
_GONE = (GrpcCode.UNAVAILABLE, GrpcCode.UNAUTHENTICATED)


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
        identity = self._block.context.identity
        own = identity.app_id
        if internal:
            target = _own_target(target, own)
        elif target.partition(".") == (own, ".", identity.invocation_namespace):
            target = own
        if target == own:
            self._check(context)
            upstream_source: Open = _Local(self._block, context).open
            runner = None
        else:
            upstream_source = _Remote(self._block, context, target).open
            runner = self._runner(context)
        if runner is None or is_truthy(_text(context, "dapr-stream")):
            responses = relayed(messages, context, await opened(upstream_source, runner))
        else:
            responses = guarded(messages, context, upstream_source, runner)
        async with contextlib.aclosing(responses):
            async for message in responses:
                yield message

    def _check(self, context: Context) -> None:
        """The way into the app, whoever calls: the app itself has no identity here."""
        method = normalise(context.method)
        if self._access_control is not None:
            caller = context.identity if isinstance(context.identity, SpiffeId) else None
            self._access_control.check(caller, method, "NONE")

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

    async def open(self) -> Upstream:
        """Start the call."""
        channel = self._block.context.channel
        if not isinstance(channel, AppGrpcChannel):
            raise RpcError(GrpcCode.INTERNAL, "app channel is not initialized")
        metadata = [p for p in _forwarded(self._context) if p[0] != "dapr-api-token"]
        timeout = self._context.remaining()
        try:
            call = await channel.open(normalise(self._context.method), metadata, timeout)
        except AppUnhealthyError as error:
            raise RpcError(GrpcCode.INTERNAL, str(error)) from error
        return Upstream(call, channel.leave)


class _Remote:
    """To the sidecar of another app."""

    def __init__(self, block: InvocationBlock, context: Context, target: str) -> None:
        self._block = block
        self._context = context
        self._target = target

    async def open(self) -> Upstream:
        """Start the call; one reconnect is made when the sidecar cannot be reached."""
        own = self._block.context.identity
        try:
            app_id, namespace = split_app_id(self._target, own.invocation_namespace)
        except ValueError as error:
            raise RpcError(GrpcCode.UNKNOWN, str(error)) from error
        try:
            return await self._attempt(app_id, namespace)
        except RpcError as error:
            if error.code not in _GONE:
                raise
        return await self._attempt(app_id, namespace)

    async def _attempt(self, app_id: str, namespace: str) -> Upstream:
        block = self._block
        try:
            address = await block.book.find(app_id, namespace)
        except LookupError as error:
            raise RpcError(GrpcCode.UNKNOWN, str(error)) from error
        metadata = _forwarded(self._context)
        metadata = [p for p in metadata if p[0] not in (_CALLER, _CALLEE)]
        metadata += [(_CALLER, block.context.identity.app_id), (_CALLEE, app_id)]
        channel = block.peers.channel(address, namespace, app_id)
        try:
            call = await channel.open(self._context.method, metadata, self._context.remaining())
        except RpcError as error:
            if error.code in _GONE:
                await block.peers.drop(channel)
                block.book.forget(app_id, namespace, address)
            raise
        return Upstream(call)


def _forwarded(context: Context) -> Metadata:
    """The caller's metadata, with the running span in place of its own when there is one."""
    metadata = [pair for pair in context.metadata if pair[0] not in _NOT_FORWARDED]
    span = current_span.get()
    if span is None or not (trace := trace_metadata(span)):
        return metadata
    replaced = {name for name, _ in trace}
    return [pair for pair in metadata if pair[0] not in replaced] + trace


def _target(context: Context) -> str:
    target = _text(context, _CALLEE) or _text(context, _TARGET)
    if not target:
        if context.method.startswith(_TASK_HUB):
            raise RpcError(GrpcCode.UNIMPLEMENTED, _NO_WORKFLOWS)
        foreign = not context.method.startswith(_OWN_SERVICES)
        raise RpcError(GrpcCode.UNKNOWN, _NO_TARGET_FOREIGN if foreign else _NO_TARGET)
    return target


def _own_target(target: str, own: str) -> str:
    """The only app that other sidecars reach here. Raises ``RpcError`` (permission denied).

    A call that went on to a third sidecar would have this one's identity there, and be let in by
    access control that knows nothing of who really calls.
    """
    if target.partition(".")[0] != own:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"this is the sidecar of '{own}': calls to '{target}' are not passed on, call its "
            "own sidecar",
        )
    return own


def _text(context: Context, name: str) -> str:
    value = context.get(name)
    return value if isinstance(value, str) else ""
