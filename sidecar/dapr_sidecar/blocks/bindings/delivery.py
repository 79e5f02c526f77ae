"""One event from an input binding to the app, and the question whether the app wants it."""

from __future__ import annotations

import asyncio
from time import perf_counter
from urllib.parse import quote

from google.protobuf import empty_pb2

from dapr_common.grpc.errors import RpcError
from dapr_common.http.headers import canonical, safe_value
from dapr_common.http.messages import Header
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import NO_TRACEPARENT, Span, parse_traceparent
from dapr_common.wire.dapr.proto.runtime.v1 import appcallback_pb2
from dapr_sidecar.blocks.bindings.fan_out import send_on
from dapr_sidecar.blocks.bindings.output import BindingsBlock
from dapr_sidecar.channel.base import GrpcAppChannel, HttpAppChannel
from dapr_sidecar.components.bindings.base import Event, InputBinding
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.messaging.headers import trace_metadata
from dapr_sidecar.resiliency.base import CodedError

_LOG = get_logger("dapr.runtime.processor.binding")
_SERVICE = "/dapr.proto.runtime.v1.AppCallback/"
_JSON: Header = (b"Content-Type", b"application/json")
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OURS = frozenset(
    {b"content-type", b"content-length", b"host", b"connection", b"transfer-encoding"}
    | {b"traceparent", b"tracestate", b"te", b"upgrade", b"expect"}
)
_PATH_SAFE = "/:?#[]@!$&'()*+,;=%-._~|"


class DeliveryError(Exception):
    """The app did not take an event."""


def route_of(loaded: Loaded[InputBinding]) -> str:
    """The app's path for a binding's events."""
    # This one name is taken as it is spelled.
    given = next((e.name for e in loaded.manifest.metadata if e.name.lower() == "route"), "route")
    route = loaded.properties.get("route", "") if given == "route" else ""
    return route or loaded.manifest.name


def is_named_input(loaded: Loaded[InputBinding]) -> bool:
    """Whether the manifest itself says ``input``: the app is then not asked."""
    words = loaded.properties.get("direction", "").split(",")
    return "input" in (word.strip().lower() for word in words)


def target_of(route: str) -> bytes:
    """The request target of a route."""
    return quote("/" + route.lstrip("/"), safe=_PATH_SAFE).encode()


class Probe:
    """Asks the app which bindings it wants."""

    def __init__(self, context: SidecarContext, timeout: float) -> None:
        self._context = context
        self._timeout = timeout
        self._listed: frozenset[str] | None = None

    async def is_wanted(self, loaded: Loaded[InputBinding]) -> bool:
        """Whether to start it. Raises when an HTTP app cannot be asked."""
        channel = self._context.channel
        if channel is None:
            return False
        if channel.kind == "grpc":
            return loaded.manifest.name in await self._list(channel)
        try:
            async with asyncio.timeout(self._timeout):
                response = await channel.request("OPTIONS", target_of(route_of(loaded)), [_JSON])
                await response.read()
        except TimeoutError as error:
            raise DeliveryError(f"the app did not answer within {self._timeout:g}s") from error
        return 200 <= response.status < 300 or response.status == 405

    async def _list(self, channel: GrpcAppChannel) -> frozenset[str]:
        if self._listed is None:
            try:
                answer = await channel.unary(
                    _SERVICE + "ListInputBindings",
                    empty_pb2.Empty(),
                    appcallback_pb2.ListInputBindingsResponse,
                    timeout=self._timeout,
                )
            except RpcError as error:
                _LOG.debug("the app lists no input bindings: %s", error)
                return frozenset()
            assert isinstance(answer, appcallback_pb2.ListInputBindingsResponse)
            self._listed = frozenset(answer.bindings)
        return self._listed


class EventDelivery:
    """The handler of one binding; calling it returns the app's answer or raises."""

    def __init__(
        self, context: SidecarContext, outputs: BindingsBlock, name: str, route: str
    ) -> None:
        self._context = context
        self._outputs = outputs
        self._name = name
        self._route = route
        self._target = target_of(route)

    async def __call__(self, event: Event) -> bytes | None:
        context = self._context
        started = perf_counter()
        success = False
        runner = context.policies.component_inbound(self._name, "Binding")
        span = self._start_span(event)
        try:
            if runner is None:
                answer = await self._attempt(event, span)
            else:
                answer = await runner.run(lambda: self._attempt(event, span))
            success = True
        except CodedError as error:
            # Only 200 satisfies a policy, but any 2xx counts as taken in the end.
            if isinstance(error.result, bytes) and 200 <= error.code < 300:
                success = True
                return error.result
            raise
        except Exception as error:
            if span is not None:
                span.fail(str(error))
            raise
        finally:
            if span is not None:
                span.end()
            elapsed = (perf_counter() - started) * 1000
            context.metrics.input_binding(self._name, success, elapsed)
        return answer

    async def _attempt(self, event: Event, span: Span | None) -> bytes | None:
        channel = self._context.channel
        if channel is None:
            raise DeliveryError("the app channel is not available")
        if channel.kind == "http":
            return await self._post(channel, event, span)
        return await self._call(channel, event, span)

    async def _post(self, channel: HttpAppChannel, event: Event, span: Span | None) -> bytes:
        headers = [_JSON, *_metadata_headers(event)]
        headers.append((b"Traceparent", (_traceparent(span)).encode()))
        if span is not None and span.context.tracestate:
            headers.append((b"Tracestate", span.context.tracestate.encode()))
        response = await channel.request("POST", self._target, headers, event.data)
        body = await response.read()
        if response.status == 200:
            return body
        shown = body.decode("utf-8", "replace")
        raise CodedError(
            response.status,
            "fails to send binding event to http app channel, "
            f"status code: {response.status} body: {shown}",
            body,
        )

    async def _call(self, channel: GrpcAppChannel, event: Event, span: Span | None) -> bytes:
        metadata = [] if span is None else trace_metadata(span)
        try:
            answer = await channel.unary(
                _SERVICE + "OnBindingEvent",
                appcallback_pb2.BindingEventRequest(
                    name=self._name, data=event.data, metadata=dict(event.metadata)
                ),
                appcallback_pb2.BindingEventResponse,
                metadata=metadata,
            )
        except RpcError as error:
            raise CodedError(
                int(error.code), f"error invoking app: error invoking app: {error}"
            ) from error
        assert isinstance(answer, appcallback_pb2.BindingEventResponse)
        if answer.to:
            await send_on(self._outputs, answer)
        return bytes(answer.data)

    def _start_span(self, event: Event) -> Span | None:
        tracer = self._context.tracer
        text = event.metadata.get("traceparent", "")
        parent = parse_traceparent(text, event.metadata.get("tracestate", "")) if text else None
        if parent is None and not tracer.enabled:
            return None
        span = tracer.start(f"bindings/{self._name}", "CLIENT", parent)
        if span.recording:
            channel = self._context.channel
            is_grpc = channel is not None and channel.kind == "grpc"
            callee = _SERVICE + "OnBindingEvent" if is_grpc else self._route
            span.set("db.name", self._name)
            span.set("rpc.service", "Dapr")
            span.set("db.system", "bindings")
            span.set("db.connection_string", callee)
        return span


def _traceparent(span: Span | None) -> str:
    return NO_TRACEPARENT if span is None else span.context.traceparent


def _metadata_headers(event: Event) -> list[Header]:
    """Event metadata as headers; names no header can have are left out."""
    headers: list[Header] = []
    for name, value in event.metadata.items():
        raw = name.encode("utf-8", "replace")
        if raw and raw.lower() not in _OURS and _TOKEN.issuperset(raw):
            headers.append((canonical(raw), safe_value(value.encode("utf-8", "replace"))))
    return headers
