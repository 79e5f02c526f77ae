"""What one placement stream is in the middle of: lock, update, unlock. Pure.

A round is begun by ``lock``; several ``lock`` and ``update`` may come before one ``unlock``.
"""

from __future__ import annotations

from collections.abc import Iterable

ACK_SECONDS = 6.0
"""How long after ``lock`` an unacknowledged ``update`` leaves actors to this sidecar.

Placement gives up on a sidecar 8 s after a round began, and gives its actors away.
"""


class RoundError(Exception):
    """Placement said something that makes no sense here; the stream is of no further use."""


class Rounds:
    """The phases of a stream, in versions of its tables. Times in seconds of any one clock."""

    __slots__ = ("_began", "_limit", "_moving", "_owed", "_since", "_updated", "_version")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._version: int | None = None
        self._began: float | None = None
        """Of the round timer, which an ``update`` stops."""
        self._since: float | None = None
        """The first ``lock`` that no ``update`` was acknowledged after."""
        self._owed = False
        """Whether placement waits for this sidecar."""
        self._updated = False
        self._moving: set[str] = set()

    def is_moving(self, actor_type: str) -> bool:
        """Whether a type was touched since the last ``unlock``."""
        return actor_type in self._moving

    @property
    def ends_by(self) -> float | None:
        """When the round is overdue and the stream must go; ``None`` while none runs."""
        return None if self._began is None else self._began + self._limit

    @property
    def owns_until(self) -> float | None:
        """When placement may have given up on this sidecar, which owes it an answer."""
        return self._since + ACK_SECONDS if self._owed and self._since is not None else None

    def lock(self, version: int, now: float) -> None:
        """A round begins, or begins anew; calls go on."""
        self._version = version
        self._began = now
        self._owed = True
        if self._since is None:
            self._since = now

    def update(self, version: int, types: Iterable[str], now: float) -> None:
        """These types change. Raises ``RoundError`` for tables older than the round."""
        if self._version is not None and version < self._version:
            raise RoundError(f"tables of version {version} came in round {self._version}")
        self._version = version
        self._updated = True
        self._began = None
        self._owed = True
        if self._since is None:
            self._since = now
        self._moving.update(types)

    def acknowledged(self) -> None:
        """Placement was told that what the last order asks for is done."""
        self._owed = False
        if self._updated:
            self._since = None

    def unlock(self, version: int) -> frozenset[str] | None:
        """The types that are settled now; ``None`` when the order is not to be followed."""
        if not self._updated or (self._version is not None and version < self._version):
            return None
        self._updated = False
        self._began = None
        self._since = None
        settled = frozenset(self._moving)
        self._moving.clear()
        return settled
