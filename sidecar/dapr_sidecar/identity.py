"""Who and where this sidecar is; fixed at start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SidecarIdentity:
    """Facts every block may need. Ports are filled in as the listeners are bound."""

    app_id: str
    namespace: str
    """The process's ``NAMESPACE`` as it is, "" when unset (key prefixes)."""

    invocation_namespace: str
    """``NAMESPACE``, or "default" when the variable does not exist."""

    host_address: str
    hostname: str
    http_port: int = 0
    grpc_port: int = 0
    internal_port: int = 0
    app_port: int = 0
