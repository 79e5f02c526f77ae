"""Listening TCP sockets."""

from __future__ import annotations

import contextlib
import socket


def bind_tcp(host: str | None, port: int) -> list[socket.socket]:
    """Bound TCP sockets; every interface of both families for ``None``. Raises ``OSError``."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if host == "localhost":
            host = "127.0.0.1"
        return [_bind(family, host.strip("[]"), port, dual=False)]
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return [_bind(socket.AF_INET6, "::", port, dual=True)]
    return [_bind(socket.AF_INET, "0.0.0.0", port, dual=False)]  # noqa: S104 - asked for


def _bind(family: socket.AddressFamily, host: str, port: int, *, dual: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound
