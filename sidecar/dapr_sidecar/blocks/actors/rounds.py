"""What one placement stream is in the middle of: lock, update, unlock. Pure.

A round is begun by ``lock``; several ``lock`` and ``update`` may come before one ``unlock``.
"""

from __future__ import annotations

from collections.abc import Iterable

from dapr_sidecar.blocks.actors.placement_bounds import PlacementBounds


class RoundError(Exception):
    """Placement said something that makes no sense here; the stream is of no further use."""


class Rounds:
    """The phases of a stream, in versions of its tables. Times in seconds of any one clock.

    ``answer``: how long after a round began a sidecar whose answer placement may not have owns.
    Placement ends the stream of one that does not answer, and gives its actors away.
    """

    __slots__ = (
        "_answer",
        "_ends_by",
        "_limit",
        "_moving",
        "_owed",
        "_since",
        "_told",
        "_updated",
        "_version",
    )

    def __init__(self, limit: float, answer: float = PlacementBounds().answer) -> None:
        self._limit = limit
        self._answer = answer
        self._version: int | None = None
        self._ends_by: float | None = None
        self._since = float("-inf")
        """The round that runs began no earlier."""
        self._owed = False
        """Whether placement may be waiting for this sidecar."""
        self._told: float | None = None
        """When the last answer left; ``None`` while it has not."""
        self._updated = False
        self._moving: set[str] = set()

    def is_moving(self, actor_type: str) -> bool:
        """Whether a type was touched since the last ``unlock``."""
        return actor_type in self._moving

    @property
    def ends_by(self) -> float | None:
        """When the round is overdue and the stream must go; ``None`` while none runs."""
        return self._ends_by

    def may_own(self, now: float, heard: float) -> bool:
        """Whether placement cannot have given up on this sidecar for lack of an answer.

        ``heard``: when that was sent which placement certainly heard last.
        """
        if self._owed and self._told is not None and heard > self._told:
            self._owed = False
        return not self._owed or now < self._since + self._answer

    def bound(self, answer: float) -> None:
        """Placement said how long it waits for an answer."""
        self._answer = answer

    def lock(self, version: int, now: float, heard: float) -> None:
        """A round begins, or begins anew; calls go on."""
        self._version = version
        self._ends_by = now + self._limit
        self._owe(heard, begins=True)

    def update(self, version: int, types: Iterable[str], heard: float) -> None:
        """These types change. Raises ``RoundError`` for tables older than the round."""
        if self._version is not None and version < self._version:
            raise RoundError(f"tables of version {version} came in round {self._version}")
        self._version = version
        self._updated = True
        self._ends_by = None
        self._owe(heard, begins=False)
        self._moving.update(types)

    def answered(self, now: float) -> None:
        """Placement was told that what the last order asks for is done."""
        self._told = now

    def unlock(self, version: int, heard: float) -> frozenset[str] | None:
        """The types that are settled now; ``None`` when the order is not to be followed."""
        if not self._updated or (self._version is not None and version < self._version):
            return None
        self._updated = False
        self._ends_by = None
        self._owe(heard, begins=False)
        settled = frozenset(self._moving)
        self._moving.clear()
        return settled

    def _owe(self, heard: float, *, begins: bool) -> None:
        """An order came. What was heard before it came was heard before the round began."""
        if self._told is not None and heard > self._told:
            self._owed = False
        if begins and not self._owed:
            self._since = heard
        self._owed = True
        self._told = None
