"""Who is at the other end of a connection, for servers that refuse calls rather than peers."""

from __future__ import annotations

import ssl

from dapr_common.observe.logs import get_logger
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.tls import peer_id
from dapr_common.security.x509 import CertificateError

_LOG = get_logger("dapr.security")


def identify(tls: ssl.SSLObject) -> SpiffeId | None:
    """The identity of a connection's peer; without one every call of it is to be refused."""
    try:
        return peer_id(tls)
    except CertificateError as error:
        _LOG.debug("a peer has no identity: %s", error)
        return None
