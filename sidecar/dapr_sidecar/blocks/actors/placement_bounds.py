"""When placement gives up on a sidecar, and what follows from that for what one may rely on. Pure.

Our placement says in its response headers what its flags make of it. Any other is taken to run
with Dapr's default flags.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SILENCE, ROUND = "dapr-placement-silence-ms", "dapr-placement-round-ms"
_LONGEST_LEASE, _LONGEST_QUIET_LEASE, _LONGEST_PING = 3.0, 4.5, 1.0


@dataclass(frozen=True, slots=True)
class PlacementBounds:
    """Times in seconds."""

    silence: float = 5.0
    """Of a sidecar: ``--keepalive-time`` and then ``--keepalive-timeout`` without an answer."""
    round: float = 8.0
    """Since a round began, without this sidecar's answer: ``--disseminate-timeout``."""

    def lease(self, *, pings: bool) -> float:
        """How long a sign of life is good for, with pings of the sidecar's own and without."""
        if pings:
            return min(_LONGEST_LEASE, 0.6 * self.silence)
        return min(_LONGEST_QUIET_LEASE, 0.9 * self.silence)

    @property
    def ping(self) -> float:
        """How often a sidecar pings: several times in a lease."""
        return min(_LONGEST_PING, 0.2 * self.silence)

    @property
    def answer(self) -> float:
        """How long after a round began a sidecar that owes an answer may still own."""
        return 0.875 * self.round


def bounds_of(headers: Iterable[tuple[str, str | bytes]]) -> PlacementBounds:
    """What placement says of itself; what cannot be read counts as not said."""
    said = {name: value for name, value in headers if name in (SILENCE, ROUND)}
    default = PlacementBounds()
    return PlacementBounds(
        _seconds(said.get(SILENCE), default.silence), _seconds(said.get(ROUND), default.round)
    )


def _seconds(text: str | bytes | None, default: float) -> float:
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()):
        return default
    return int(text[:12]) / 1000
