"""The address other machines reach this one at."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

_PROBES = (
    (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_INET6, ("2001:db8::1", 80)),
)


_SIOCGIFADDR = 0x8915


class NoHostAddressError(OSError):
    """No usable address was found."""


def host_address(environment: Mapping[str, str] | None = None) -> str:
    """``DAPR_HOST_IP``, or the local end of an outbound route; nothing is sent.

    Falls back to the best address of the host name. Raises ``NoHostAddressError``.
    """
    environment = os.environ if environment is None else environment
    if given := environment.get("DAPR_HOST_IP", "").strip(" []"):
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
    """Addresses of the interfaces, the most widely reachable first; never loopback."""
    found = [*_ipv4_addresses(), *_ipv6_addresses()]
    usable = [ipaddress.ip_address(text) for text in found]
    return [str(a) for a in sorted(usable, key=_rank) if not a.is_loopback]


def _rank(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    if address.is_link_local:
        return 4
    if address.version == 4:
        return 0 if address.is_global else 2
    return 1 if address.is_global else 3


def _ipv4_addresses() -> list[str]:
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                request = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _ipv6_addresses() -> list[str]:
    try:
        lines = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    return [str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines]


def join_host_port(host: str, port: int) -> str:
    """``host:port``, IPv6 bracketed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
