"""Lists of addresses, each kept for a while. No I/O."""

from __future__ import annotations

import random
from collections.abc import Sequence

LIFETIME = 20.0
MOST = 1024

Key = tuple[str, str]
"""Namespace and app id."""


class AddressLists:
    """The oldest list makes room when there are too many."""

    def __init__(self) -> None:
        self._lists: dict[Key, tuple[float, Sequence[str]]] = {}

    def pick(self, key: Key, now: float) -> str | None:
        """Any address of a list that is not too old."""
        known = self._lists.get(key)
        if known is None or now - known[0] >= LIFETIME:
            return None
        return random.choice(known[1])  # noqa: S311 - spreads load

    def put(self, key: Key, addresses: Sequence[str], now: float) -> None:
        """Keep a list, which is not empty."""
        self._lists.pop(key, None)  # so that the order is that of age
        while len(self._lists) >= MOST:
            del self._lists[next(iter(self._lists))]
        self._lists[key] = (now, addresses)

    def drop(self, key: Key) -> None:
        """Read this list again when it is next asked for."""
        self._lists.pop(key, None)

    def __len__(self) -> int:
        return len(self._lists)
