"""How the sidecars of one namespace come to hold the same tables: a state machine without I/O.

A change begins a round. All sidecars are told to lock, when all have answered they get the tables,
when all have taken them they unlock. What happens meanwhile waits for the round's end and shares
the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.hosts import is_same

Operation = Literal["lock", "update", "unlock"]
_OPERATIONS: tuple[Operation, ...] = ("lock", "update", "unlock")
_AFTER: dict[Operation, Operation] = {"lock": "update", "update": "unlock"}
_ANSWERS: dict[int, Operation] = {pb.LOCK: "lock", pb.UPDATE: "update", pb.UNLOCK: "unlock"}


@dataclass(frozen=True, slots=True)
class Order:
    """Send to these streams; an ``update`` carries the tables as they are now."""

    streams: tuple[int, ...]
    operation: Operation
    version: int


@dataclass(frozen=True, slots=True)
class Late:
    """End these streams: they have not answered in time."""

    streams: tuple[int, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Call ``timer`` after so many seconds, in place of what was waited for before."""

    seconds: float | None
    """``None``: wait for nothing."""


Effect = Order | Late | Wait
Effects = list[Effect]


class Dissemination:
    """One namespace. Each input returns what is to be done, in order.

    Streams are numbers of the caller's, never used again. ``timeout`` and ``window`` are seconds:
    what a round may take, and how long after one changes are collected for the next.
    """

    def __init__(self, *, timeout: float, window: float = 0.0) -> None:
        self.version = 0
        self._timeout = timeout
        self._window = window
        self._phase: Operation | Literal["window"] | None = None
        self._members: dict[int, None] = {}
        self._hosts: dict[int, pb.Host] = {}
        self._waiting: set[int] = set()
        self._held: dict[int, pb.Host] = {}
        self._left: set[int] = set()

    # --- what there is ----------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether no stream is left: the namespace may be forgotten."""
        return not self._members and not self._held

    @property
    def is_idle(self) -> bool:
        """Whether all have the newest tables, and nothing waits."""
        return self._phase is None

    @property
    def actor_hosts(self) -> int:
        """Streams that host actors."""
        return len(self._hosts)

    @property
    def hosts(self) -> dict[str, pb.Host]:
        """Who hosts actors, by name. Of two streams with one name the newer one counts."""
        return {host.name: host for host in self._hosts.values()}

    # --- inputs -----------------------------------------------------------------------------

    def report(self, stream: int, host: pb.Host) -> Effects:
        """What a sidecar hosts (``as_reported``); its first message, or a change."""
        known = stream in self._members
        if self._phase == "window" or (self._phase is not None and not known):
            self._held[stream] = host
            return []
        self._members[stream] = None
        if self._take(stream, host):
            return self._merge() if self._phase is not None else self._begin()
        if self._phase is not None or stream in self._hosts:
            return []  # it has the tables, or gets them with the others
        return self._hand_over([stream])

    def answer(self, stream: int, operation: int, version: int | None) -> Effects:
        """A sidecar did as it was ordered. Answers to older orders, or repeated ones, are none."""
        if stream not in self._waiting or _ANSWERS.get(operation) != self._phase:
            return []
        if version is not None and version != self.version:
            return []
        self._waiting.discard(stream)
        return self._advance()

    def heartbeat(self, stream: int, host: pb.Host) -> Effects:
        """A message without operation and version, as sidecars before Dapr 1.17 send them.

        It answers whatever was ordered last; otherwise it is a report, and one that says nothing
        new is not answered with the tables again: it comes every second.
        """
        if stream not in self._members or stream in self._held:
            return self.report(stream, host)
        if self._phase is None or self._phase == "window":
            before = self._hosts.get(stream)
            is_new = bool(host.entities) if before is None else not is_same(before, host)
            return self.report(stream, host) if is_new else []
        self._waiting.discard(stream)
        return self._advance()

    def leave(self, stream: int) -> Effects:
        """A stream has ended."""
        self._held.pop(stream, None)
        if stream not in self._members:
            return []
        del self._members[stream]
        self._waiting.discard(stream)
        if self._phase is None:
            return self._begin() if self._hosts.pop(stream, None) is not None else []
        if stream in self._hosts:
            self._left.add(stream)
        return [] if self._phase == "window" else self._advance()

    def timer(self) -> Effects:
        """The time of the last ``Wait`` is over."""
        if self._phase is None:
            return []
        if self._phase == "window":
            return self._settle()
        late = Late(tuple(self._waiting), self.version)
        for stream in late.streams:
            del self._members[stream]
            self._hosts.pop(stream, None)
            self._held.pop(stream, None)
        return [late, *self._merge()]

    # --- rounds -----------------------------------------------------------------------------

    def _begin(self) -> Effects:
        """A round from its start."""
        self.version += 1
        if not self._members:
            self._phase = None
            return [Wait(None)]
        return [*self._order("lock"), Wait(self._timeout)]

    def _order(self, operation: Operation) -> Effects:
        self._phase = operation
        self._waiting = set(self._members)
        return [Order(tuple(self._members), operation, self.version)]

    def _advance(self) -> Effects:
        """The next phase, once everybody has answered in this one."""
        phase = self._phase
        assert phase is not None
        assert phase != "window"
        if self._waiting:
            return []
        if self._members and (following := _AFTER.get(phase)):
            return self._order(following)
        if self._window:
            self._phase = "window"
            return [Wait(self._window)]
        return self._settle()

    def _settle(self) -> Effects:
        """What waited for the end of the round makes another one, or is quickly answered."""
        newcomers, changed = self._apply()
        if changed:
            return self._begin()
        self._phase = None
        without = [stream for stream in newcomers if stream not in self._hosts]
        return [Wait(None), *self._hand_over(without)]

    def _merge(self) -> Effects:
        """A new round in place of the one that runs, with everything that waited for its end."""
        self._apply()
        return self._begin()

    def _apply(self) -> tuple[Iterable[int], bool]:
        """Take over what has waited. Returns whose reports that were, and whether tables change."""
        gone = [self._hosts.pop(stream) for stream in self._left if stream in self._hosts]
        held, self._held = self._held, {}
        self._left = set()
        taken = [self._take(stream, host) for stream, host in held.items()]
        self._members.update(dict.fromkeys(held))
        return held, bool(gone) or any(taken)

    def _take(self, stream: int, host: pb.Host) -> bool:
        """Whether the tables are others with this report."""
        before = self._hosts.get(stream)
        if before is not None and is_same(before, host):
            return False
        if before is not None:
            del self._hosts[stream]  # the newest report of a name counts: it goes to the end
        if host.entities:
            self._hosts[stream] = host
        return before is not None or bool(host.entities)

    def _hand_over(self, streams: Iterable[int]) -> Effects:
        """The tables for those whose coming changes nothing; nobody waits for their answers."""
        if not (found := tuple(streams)):
            return []
        return [Order(found, operation, self.version) for operation in _OPERATIONS]
