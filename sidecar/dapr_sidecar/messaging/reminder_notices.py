"""Tells other sidecars of the app that reminders of their actors changed in the store."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.daprpy.internals.v1 import reminders_pb2 as pb
from dapr_sidecar.messaging.peers import Peers

CHANGED = "/daprpy.internals.v1.ActorReminders/Changed"
_SECONDS = 5.0
_MOST_NAMES = 10_000


class ReminderNotices:
    """One unary call per owner and batch of changes."""

    def __init__(self, peers: Peers, namespace: str) -> None:
        self._peers = peers
        self._namespace = namespace

    async def changed(
        self, address: str, app_id: str, actor_type: str, keys: Sequence[tuple[str, str]]
    ) -> None:
        """Tell one sidecar. Raises ``RpcError``; one that does not know the call is no error."""
        channel = self._peers.channel(address, self._namespace, app_id)
        names = [pb.ReminderName(actor_id=i, name=n) for i, n in keys[:_MOST_NAMES]]
        message = pb.RemindersChanged(actor_type=actor_type, reminders=names)
        try:
            await channel.unary(CHANGED, message, pb.RemindersChangedAnswer, timeout=_SECONDS)
        except RpcError as error:
            if error.code is GrpcCode.UNAVAILABLE:
                await self._peers.drop(channel)
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
