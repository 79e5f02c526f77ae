"""The internal method by which sidecars of one app tell each other of changed reminders."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, Method
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.daprpy.internals.v1 import reminders_pb2 as pb
from dapr_sidecar.messaging.reminder_notices import CHANGED

OnChanged = Callable[[str, Iterable[tuple[str, str]]], None]


def methods(changed: OnChanged, namespace: str) -> list[Method]:
    """``changed`` takes the actor type and pairs of actor id and reminder name."""

    async def handle(request: pb.RemindersChanged, context: Context) -> pb.RemindersChangedAnswer:
        identity = context.identity
        if isinstance(identity, SpiffeId) and identity.namespace != namespace:
            raise RpcError(
                GrpcCode.PERMISSION_DENIED, f'"{identity}" is not of namespace {namespace}'
            )
        changed(request.actor_type, [(name.actor_id, name.name) for name in request.reminders])
        return pb.RemindersChangedAnswer()

    return [Method(CHANGED, "unary_unary", pb.RemindersChanged, pb.RemindersChangedAnswer, handle)]
