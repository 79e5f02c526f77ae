"""Who calls, and whether it asks about its own namespace."""

from __future__ import annotations

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId


def caller(context: Context) -> SpiffeId:
    """Who calls. Raises ``RpcError``."""
    identity = context.identity
    if not isinstance(identity, SpiffeId):
        raise RpcError(GrpcCode.PERMISSION_DENIED, "failed to determine identity")
    return identity


def authorized(context: Context, namespace: str) -> SpiffeId:
    """The caller, who may ask about this namespace. Raises ``RpcError``."""
    identity = caller(context)
    if not namespace or identity.namespace != namespace:
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"identity does not match requested namespace exp={namespace} got={identity.namespace}",
        )
    return identity
