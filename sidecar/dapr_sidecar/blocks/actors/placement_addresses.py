"""Which placement server is tried next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_RESOLVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSettings:
    """Who reports, and to whom. ``resolve``: the first address names several servers in DNS."""

    name: str
    addresses: tuple[str, ...]
    resolve: bool = False


class Addresses:
    """The servers in turn: as they were given, or as DNS has the first of them at each attempt."""

    def __init__(self, settings: PlacementSettings) -> None:
        self._settings = settings
        self._turn = -1

    async def next(self) -> str:
        """The server of the next attempt."""
        self._turn += 1
        addresses = self._settings.addresses
        if self._settings.resolve:
            addresses = await _resolved(addresses[0])
        return addresses[self._turn % len(addresses)]


async def _resolved(address: str) -> tuple[str, ...]:
    """Every address of a name; the name itself when it cannot be resolved now."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    except (OSError, UnicodeError):
        return (address,)
    texts = sorted({str(entry[4][0]) for entry in found})
    return tuple(f"[{text}]:{port}" if ":" in text else f"{text}:{port}" for text in texts)
