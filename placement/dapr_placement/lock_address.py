"""Where a lock is: ``consul://host:port/key`` or ``etcd://host:port,host:port/key``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_SCHEMES: dict[str, tuple[Literal["consul", "etcd"], bool]] = {
    "consul": ("consul", False),
    "consuls": ("consul", True),
    "etcd": ("etcd", False),
    "etcds": ("etcd", True),
}
_DEFAULT_PORTS = {"consul": 8500, "etcd": 2379}
_MOST_PORT = 65535


class LockAddressError(ValueError):
    """It cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class LockAddress:
    """The servers are asked in turn until one answers."""

    system: Literal["consul", "etcd"]
    secured: bool
    servers: tuple[tuple[str, int], ...]
    """Hosts (IPv6 without brackets) and ports."""
    key: str


def parse_lock_address(text: str) -> LockAddress:
    """Read one. Raises ``LockAddressError``."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise LockAddressError(f'"{text}": it begins with {", ".join(f"{s}://" for s in _SCHEMES)}')
    if "@" in rest:
        raise LockAddressError("secrets do not belong in an address: use --leader-lock-*-file")
    system, secured = _SCHEMES[scheme]
    servers, _, key = rest.partition("/")
    if not servers or not key:
        raise LockAddressError(f'"{text}": use {scheme}://host:port/key')
    found = tuple(_server(server, _DEFAULT_PORTS[system]) for server in servers.split(","))
    return LockAddress(system, secured, found, key)


def _server(text: str, default: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    number = default if not port else number
    if not host or not 0 < number <= _MOST_PORT:
        raise LockAddressError(f'"{text}": expected host:port')
    return host, number
