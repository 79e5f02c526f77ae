"""Who calls, and whether it asks about its own namespace."""

from __future__ import annotations

import ssl

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.tls import peer_id
from dapr_common.security.x509 import CertificateError

_LOG = get_logger("dapr.operator.api")


def identify(tls: ssl.SSLObject) -> SpiffeId | None:
    """The identity of a connection's peer; without one every call of it is refused."""
    try:
        return peer_id(tls)
    except CertificateError as error:
        _LOG.debug("a peer has no identity: %s", error)
        return None


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
