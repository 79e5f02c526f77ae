"""The address other machines reach this one at."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping

_PROBES = (
    (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_INET6, ("2001:db8::1", 80)),
)


class NoHostAddressError(OSError):
    """No usable address was found."""


def host_address(environment: Mapping[str, str] | None = None) -> str:
    """``DAPR_HOST_IP``, or the local end of an outbound route; nothing is sent.

    Falls back to the best address of the host name. Raises ``NoHostAddressError``.
    """
    environment = os.environ if environment is None else environment
    if given := environment.get("DAPR_HOST_IP", ""):
        return given
    for family, target in _PROBES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(target)
                return str(probe.getsockname()[0])
        except OSError:
            continue
    for address in _own_addresses():
        return address
    raise NoHostAddressError("could not determine host IP address: set DAPR_HOST_IP")


def _own_addresses() -> list[str]:
    try:
        infos = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    found = {str(info[4][0]) for info in infos}
    usable = [a for a in found if not ipaddress.ip_address(a.partition("%")[0]).is_loopback]
    return sorted(usable, key=lambda a: (":" in a, a))


def join_host_port(host: str, port: int) -> str:
    """``host:port``, IPv6 bracketed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
