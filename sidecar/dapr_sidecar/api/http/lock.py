"""HTTP routes of the lock API."""

from __future__ import annotations

from dapr_common.http.messages import Request, Response
from dapr_common.wire.dapr.proto.runtime.v1 import lock_pb2
from dapr_sidecar.api.http.protojson import read_message
from dapr_sidecar.api.http.responses import json_response
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.lock import LockBlock


def routes(block: LockBlock) -> list[Route]:
    """The routes of the lock API."""

    async def try_lock(request: Request, store: str) -> Response:
        body = await read_message(request, lock_pb2.TryLockRequest)
        success = await block.try_lock(
            store, body.resource_id, body.lock_owner, body.expiry_in_seconds
        )
        return json_response({"success": success}, newline=False)

    async def unlock(request: Request, store: str) -> Response:
        body = await read_message(request, lock_pb2.UnlockRequest)
        status = await block.unlock(store, body.resource_id, body.lock_owner)
        return json_response({"status": int(status)}, newline=False)

    root = "/v1.0-alpha1"
    return [
        Route(("POST",), f"{root}/lock/{{store}}", "v1alpha1/lock", "TryLock", try_lock),
        Route(("POST",), f"{root}/unlock/{{store}}", "v1alpha1/unlock", "Unlock", unlock),
    ]
