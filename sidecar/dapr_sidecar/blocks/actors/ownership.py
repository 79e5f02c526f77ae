"""Which actors are this sidecar's: placement's tables, and how long they may be believed.

No I/O: the placement client says what it hears, everybody else asks. A turn may begin only while
four things hold: the stream to placement is open and had its first complete round; the actor's
type is not moving and the app hosts it here; the ring says so; and placement has heard of this
sidecar so recently that it cannot have given the actor to another one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping

from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2
from dapr_sidecar.blocks.actors.base import ActorRef, Owner, OwnershipListener
from dapr_sidecar.blocks.actors.rounds import Rounds
from dapr_sidecar.blocks.actors.table import TableHost, TableReader, TypeTable, changed_types

_LOG = get_logger("dapr.runtime.actors.placement")

Clock = Callable[[], float]
_NEVER = float("-inf")
_LOOK_SECONDS = 0.05


class PlacementView:
    """Implements ``Ownership``. ``clock`` must go on while the process is stopped."""

    def __init__(self, round_limit: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._round_limit = round_limit
        self._reader = TableReader()
        self._listeners: list[OwnershipListener] = []
        self._last: list[OwnershipListener] = []
        self._waiting: asyncio.Future[None] | None = None
        self._names: frozenset[str] = frozenset()
        self._known: dict[str, bool] = {}
        self._heard: Callable[[], float] = lambda: _NEVER
        self.lease = 0.0
        """Seconds that a sign of life from placement is good for."""
        self.hosted: frozenset[str] = frozenset()
        self.tables: Mapping[str, TypeTable] = {}
        self.rounds = Rounds(round_limit)
        self.connected = False
        """Whether there is a stream."""
        self.ready = False
        """Whether the stream had a complete round."""
        self._draining: frozenset[str] = frozenset()
        self._withdrawing: frozenset[str] = frozenset()
        self._before: Mapping[str, TypeTable] = {}

    # --- what is asked ----------------------------------------------------------------------

    def owner(self, ref: ActorRef) -> Owner | None:
        """Whose an actor is."""
        table = self.tables.get(ref.type)
        host = None if table is None else table.owner(ref.id)
        if host is None:
            return None
        return Owner(host.name, host.app_id, self._is_own(host))

    def hosts(self) -> frozenset[str]:
        """The addresses of every sidecar in the tables."""
        return frozenset(name for table in self.tables.values() for name in table.hosts)

    def is_mine(self, ref: ActorRef) -> bool:
        """Whether a turn may begin here right now."""
        if ref.type not in self.hosted or not self.is_settled(ref.type):
            return False
        return self._ring_says(self.tables, ref) and self.in_force

    def holds(self, ref: ActorRef) -> bool:
        """Whether a turn that began here may still write: also while its type is drained."""
        if self.is_mine(ref):
            return True
        if ref.type in self._draining:
            tables = self._before
        elif ref.type in self._withdrawing:
            tables = self.tables
        else:
            return False
        return self.ready and self._ring_says(tables, ref) and self.in_force

    def keeps(self, ref: ActorRef) -> bool:
        """Whether the newest tables leave an actor here, be they in force or not."""
        return self.connected and ref.type in self.hosted and self._ring_says(self.tables, ref)

    @property
    def in_force(self) -> bool:
        """Whether placement cannot have given up on this sidecar yet."""
        now, heard = self._clock(), self._heard()
        return now - heard < self.lease and self.rounds.may_own(now, heard)

    def is_settled(self, actor_type: str) -> bool:
        """Whether calls need not wait, be it for a round or for the end of a withdrawal."""
        if not self.ready or self.rounds.is_moving(actor_type):
            return False
        return actor_type not in self._withdrawing or actor_type not in self.hosted

    async def wait_settled(self, actor_type: str) -> None:
        """Return when the type is not moving."""
        while not self.is_settled(actor_type):
            if self._waiting is None:
                self._waiting = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiting)

    async def wait_in_force(self) -> None:
        """Return when placement is heard of again, or the stream is given up for its silence."""
        while self.ready and not self.in_force:  # noqa: ASYNC110 - time itself ends it
            await asyncio.sleep(_LOOK_SECONDS)

    def listen(self, listener: OwnershipListener, *, last: bool = False) -> None:
        """Tell this one when actors move; ``last``: after the others have let go."""
        (self._last if last else self._listeners).append(listener)

    # --- what the placement client says -----------------------------------------------------

    def named(self, *names: str) -> None:
        """Under which names the tables have this sidecar."""
        self._names = frozenset(names)
        self._known = {}

    def connect(self, heard: Callable[[], float], lease: float) -> None:
        """There is a stream. ``heard``: when that was sent which placement heard last."""
        self.rounds = Rounds(self._round_limit)
        self.lease = lease
        self._heard = heard
        self.connected = True

    def bound(self, lease: float, answer: float) -> None:
        """What placement's own times allow; said with its first order, before anything is owned."""
        self.lease = lease
        self.rounds.bound(answer)

    def host(self, types: frozenset[str]) -> frozenset[str]:
        """The app hosts these types now; gives those that it does no more."""
        gone = self.hosted - types
        self.hosted = types
        self._withdrawing |= gone
        return gone

    def withdrawn(self, types: frozenset[str]) -> None:
        """Nothing of these types runs here any more."""
        self._withdrawing -= types
        self._wake()

    def resumed(self, types: frozenset[str]) -> frozenset[str]:
        """Which of these are hosted and, by tables that do not move, this sidecar's already.

        Types that were hosted again before placement gave them away: no round tells of them.
        """
        return frozenset(
            name
            for name in types & self.hosted & self.tables.keys()
            if self.is_settled(name) and any(map(self._is_own, self.tables[name].hosts.values()))
        )

    def lock(self, version: int) -> None:
        """A round began."""
        self.rounds.lock(version, self._clock(), self._heard())

    def update(self, message: placement_pb2.PlacementTables, version: int) -> frozenset[str]:
        """Take the new tables; the types that move now. Raises ``RoundError``."""
        tables = self._reader.read(message, self.tables)
        changed = changed_types(self.tables, tables)
        self.rounds.update(version, changed, self._heard())
        self._before, self.tables = self.tables, tables
        self._draining = changed
        self._known = {}
        return changed

    def drained(self) -> None:
        """Nothing that moved is used here any more."""
        self._draining = frozenset()
        self._before = {}

    def answered(self) -> None:
        """Placement was told that what it ordered is done."""
        self.rounds.answered(self._clock())

    def unlock(self, version: int) -> frozenset[str] | None:
        """The tables are in force everywhere; ``None`` when the order is not to be followed."""
        settled = self.rounds.unlock(version, self._heard())
        if settled is None:
            return None
        self.ready = True
        self._wake()
        return settled

    def lost(self) -> frozenset[str]:
        """The stream is gone; all types that were known or hosted, none of which is owned now."""
        types = frozenset(self.tables) | self.hosted
        self.connected = self.ready = False
        self._heard = lambda: _NEVER
        self.tables = {}
        self.rounds = Rounds(self._round_limit)
        self.drained()
        return types

    async def leaving(self, types: frozenset[str]) -> None:
        """Have everybody let go of what moves."""
        for listeners in (self._listeners, self._last):
            calls = [listener.leaving(types) for listener in listeners]
            for failure in await asyncio.gather(*calls, return_exceptions=True):
                if isinstance(failure, Exception):
                    _LOG.error("actors that move were not let go completely", exc_info=failure)

    def settled(self, types: frozenset[str]) -> None:
        """Tell everybody that these may be used again."""
        for listener in (*self._listeners, *self._last):
            listener.settled(types)

    # --- inside -----------------------------------------------------------------------------

    def _ring_says(self, tables: Mapping[str, TypeTable], ref: ActorRef) -> bool:
        table = tables.get(ref.type)
        host = None if table is None else table.owner(ref.id)
        return host is not None and self._is_own(host)

    def _is_own(self, host: TableHost) -> bool:
        own = self._known.get(host.name)
        if own is None:
            own = host.name in self._names or _same_loopback(host.name, self._names)
            self._known[host.name] = own
        return own

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


def _same_loopback(name: str, own: frozenset[str]) -> bool:
    """Whether both are loopback addresses with the same port."""
    host, _, port = name.rpartition(":")
    if not _is_loopback(host):
        return False
    return any(
        other.rpartition(":")[2] == port and _is_loopback(other.rpartition(":")[0]) for other in own
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
