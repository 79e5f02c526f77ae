"""Multicast sockets: one per interface and address family."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable
from typing import Any

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.contrib")
PORT = 5353
GROUP4, GROUP6 = "224.0.0.251", "ff02::fb"
_GET_FLAGS = 0x8913
_UP, _LOOPBACK, _MULTICAST = 0x1, 0x8, 0x1000
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
_TTL = 255


class Link(asyncio.DatagramProtocol):
    """One interface in one family."""

    def __init__(
        self, group: tuple[Any, ...], receive: Callable[[bytes, tuple[Any, ...], Link], None]
    ) -> None:
        self._group = group
        self._receive = receive
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._receive(data, addr, self)

    def error_received(self, exc: Exception) -> None:
        _LOG.debug("mdns: %s", exc)

    def send(self, data: bytes, to: tuple[Any, ...] | None = None) -> None:
        """Send to the group, or to one address."""
        if self._transport is not None and not self._transport.is_closing():
            # An interface may have gone since; the others still carry the packet.
            with contextlib.suppress(OSError):
                self._transport.sendto(data, to or self._group)

    def close(self) -> None:
        """Close the socket after what was sent."""
        if self._transport is not None:
            self._transport.close()


def interfaces() -> list[int]:
    """Indexes of the interfaces that carry multicast; the loopback when there is no other."""
    usable: list[int] = []
    loopback: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for index, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, _GET_FLAGS, struct.pack("16sH22x", name.encode(), 0))
            except OSError:
                continue
            flags = struct.unpack_from("16sH", answer)[1]
            if not flags & _UP:
                continue
            if flags & _MULTICAST:
                usable.append(index)
            elif flags & _LOOPBACK:
                loopback.append(index)
    return usable or loopback


async def open_links(receive: Callable[[bytes, tuple[Any, ...], Link], None]) -> list[Link]:
    """A link for every interface and family that works."""
    loop = asyncio.get_running_loop()
    links: list[Link] = []
    for index in interfaces():
        for make, group in (
            (_socket4, (GROUP4, PORT)),
            (_socket6, (GROUP6, PORT, 0, index)),
        ):
            try:
                bound = make(index)
            except OSError as error:
                _LOG.debug("mdns: interface %d cannot be used: %s", index, error)
                continue
            _, link = await loop.create_datagram_endpoint(
                lambda group=group: Link(group, receive),  # type: ignore[misc]
                sock=bound,
            )
            links.append(link)
    return links


def _socket4(index: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Only what comes in on this interface, so that answers go out where the question came.
        made.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        made.bind((GROUP4, PORT))
        here = struct.pack("=4s4si", socket.inet_aton(GROUP4), b"\0" * 4, index)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, here)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _socket6(index: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with contextlib.suppress(OSError):
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        made.bind((GROUP6, PORT, 0, index))
        here = socket.inet_pton(socket.AF_INET6, GROUP6) + struct.pack("=I", index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, here)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _TTL)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
