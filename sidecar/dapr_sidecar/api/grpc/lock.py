"""gRPC methods of the lock API."""

from __future__ import annotations

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import lock_pb2
from dapr_sidecar.blocks.lock import LockBlock

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"
_Status = lock_pb2.UnlockResponse


def methods(block: LockBlock) -> list[Method]:
    """The methods of the lock API."""

    async def try_lock(
        request: lock_pb2.TryLockRequest, context: Context
    ) -> lock_pb2.TryLockResponse:
        success = await block.try_lock(
            request.store_name, request.resource_id, request.lock_owner, request.expiry_in_seconds
        )
        return lock_pb2.TryLockResponse(success=success)

    async def unlock(request: lock_pb2.UnlockRequest, context: Context) -> lock_pb2.UnlockResponse:
        status = await block.unlock(request.store_name, request.resource_id, request.lock_owner)
        return lock_pb2.UnlockResponse(status=_Status.Status.Name(int(status)))

    return [
        Method(
            _SERVICE + "TryLockAlpha1",
            "unary_unary",
            lock_pb2.TryLockRequest,
            lock_pb2.TryLockResponse,
            try_lock,
        ),
        Method(
            _SERVICE + "UnlockAlpha1",
            "unary_unary",
            lock_pb2.UnlockRequest,
            lock_pb2.UnlockResponse,
            unlock,
        ),
    ]
