"""The consistent hash ring that every sidecar builds alike. Pure.

The hash is the first 8 bytes, little-endian, of an unkeyed BLAKE2b-512; a host has
``replication_factor`` virtual nodes, the hashes of its name followed by a decimal number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b


def ring_hash(text: str) -> int:
    """The place of a text on the ring, an unsigned 64-bit number."""
    return int.from_bytes(blake2b(text.encode("utf-8", "replace")).digest()[:8], "little")


class VirtualNodes:
    """The places of hosts on the ring, kept between tables: they cost most of a ring."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], array[int]] = {}

    def of(self, host: str, replication_factor: int) -> array[int]:
        """All places of one host."""
        key = (host, replication_factor)
        nodes = self._kept.get(key)
        if nodes is None:
            places = (ring_hash(f"{host}{number}") for number in range(replication_factor))
            nodes = self._kept[key] = array("Q", places)
        return nodes

    def keep(self, hosts: frozenset[str]) -> None:
        """Forget every other host."""
        self._kept = {key: nodes for key, nodes in self._kept.items() if key[0] in hosts}


class Ring:
    """Which of the hosts an actor id belongs to."""

    __slots__ = ("_hosts", "_owners", "_places")

    def __init__(
        self, hosts: Iterable[str], replication_factor: int, nodes: VirtualNodes | None = None
    ) -> None:
        nodes = nodes or VirtualNodes()
        self._hosts = sorted(hosts)
        found = [
            (place, number)
            for number, host in enumerate(self._hosts)
            for place in nodes.of(host, replication_factor)
        ]
        found.sort()
        self._places = array("Q", [place for place, _ in found])
        self._owners = array("L", [number for _, number in found])

    def __len__(self) -> int:
        return len(self._places)

    def owner(self, key: str) -> str | None:
        """The host of the first place at or after the key's, beginning anew after the last."""
        places = self._places
        if not places:
            return None
        index = bisect_left(places, ring_hash(key))
        return self._hosts[self._owners[index if index < len(places) else 0]]
