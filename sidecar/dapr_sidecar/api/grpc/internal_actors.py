"""The internal gRPC server's actor methods: calls from other sidecars to actors that live here."""

from __future__ import annotations

from google.protobuf import any_pb2, empty_pb2, wrappers_pb2
from google.protobuf.message import DecodeError

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.observe.tracing import RecordedSpan
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.internals.v1 import reminders_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.blocks.actors import headers
from dapr_sidecar.blocks.actors.base import ActorCall, ActorRef, Callback
from dapr_sidecar.blocks.actors.block import ActorBlock
from dapr_sidecar.messaging import reading, wire
from dapr_sidecar.messaging.call import Answer
from dapr_sidecar.messaging.remote import SERVICE


def methods(block: ActorBlock) -> list[Method]:
    """``CallActor`` and ``CallActorReminder``."""

    async def call_actor(
        request: internals.InternalInvokeRequest, context: Context
    ) -> internals.InternalInvokeResponse:
        caller = _caller(block, context)
        _describe(request, context)
        answer = await block.invoke_for_peer(_call(request), caller)
        told = Answer(answer.status, answer.headers, answer.content_type, answer.body)
        return wire.internal_response(told, answer.body)

    async def call_reminder(request: reminders_pb2.Reminder, context: Context) -> empty_pb2.Empty:
        _caller(block, context)
        if await block.fire_for_peer(_callback(request, context)):
            context.set_trailers([(headers.REMINDER_CANCEL.decode(), "true")])
        return empty_pb2.Empty()

    return [
        Method(
            SERVICE + "CallActor",
            "unary_unary",
            internals.InternalInvokeRequest,
            internals.InternalInvokeResponse,
            call_actor,
        ),
        Method(
            SERVICE + "CallActorReminder",
            "unary_unary",
            reminders_pb2.Reminder,
            empty_pb2.Empty,
            call_reminder,
        ),
    ]


def _describe(request: internals.InternalInvokeRequest, context: Context) -> None:
    """What the call's span, if there is one, says of it."""
    span = context.scratch.get("span")
    if isinstance(span, RecordedSpan):
        actor = request.actor
        span.name = f"CallActor/{actor.actor_type}/{request.message.method}"
        span.set("rpc.service", "ServiceInvocation")
        span.set("dapr.actor", f"{actor.actor_type}.{actor.actor_id}")


def _call(request: internals.InternalInvokeRequest) -> ActorCall:
    if not request.HasField("message") or not request.HasField("actor"):
        raise RpcError(
            GrpcCode.INVALID_ARGUMENT, "parsing InternalInvokeRequest error: no message or actor"
        )
    read = reading.invocation_of(request, "")
    return ActorCall(
        ActorRef(request.actor.actor_type, request.actor.actor_id),
        read.method,
        request.message.data.value,
        read.content_type,
        read.query,
        read.metadata,
        remote=True,
    )


def _callback(request: reminders_pb2.Reminder, context: Context) -> Callback:
    named = context.get(headers.TIMER_CALLBACK)
    return Callback(
        ActorRef(request.actor_type, request.actor_id),
        request.name,
        "timer" if request.is_timer else "reminder",
        _data(request.data) if request.HasField("data") else None,
        request.due_time,
        request.period,
        named.decode("utf-8", "replace") if isinstance(named, bytes) else "",
    )


def _data(data: any_pb2.Any) -> bytes:
    """The JSON: as bytes of a ``BytesValue``, which sidecars of Dapr send too, or bare."""
    if not data.type_url.endswith("google.protobuf.BytesValue"):
        return data.value
    try:
        return wrappers_pb2.BytesValue.FromString(data.value).value
    except DecodeError as error:
        raise RpcError(
            GrpcCode.INVALID_ARGUMENT, f"the reminder's data cannot be read: {error}"
        ) from error


def _caller(block: ActorBlock, context: Context) -> tuple[str, str] | None:
    """Namespace and app id of the peer's certificate. Namespaces never mix."""
    identity = context.identity
    if not isinstance(identity, SpiffeId):
        return None
    own = block.context.identity.invocation_namespace
    if identity.namespace != own:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"actors of namespace '{own}' cannot be called from namespace '{identity.namespace}'",
        )
    return identity.namespace, identity.app_id
