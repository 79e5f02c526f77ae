"""At most one sidecar believes that it may run an actor's turn, whatever the network does.

The sidecars' own state machine and placement's, without I/O, in a world of stateful hypothesis:
streams deliver in order and as late as they like, sidecars stop for any time and go on, hosts join,
leave, crash and change what they host. Every clock runs at one speed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.dissemination import Dissemination, Late, Order, Wait
from dapr_placement.orders import OrderBook
from dapr_sidecar.blocks.actors.base import ActorRef
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement_bounds import PlacementBounds
from dapr_sidecar.blocks.actors.rounds import RoundError

TYPES = ("T", "U")
REFS = [ActorRef(actor_type, str(number)) for actor_type in TYPES for number in range(24)]
LONG_AGO = float("-inf")
_FRAME_BYTES = 5
OPERATIONS = {"lock": pb.LOCK, "update": pb.UPDATE, "unlock": pb.UNLOCK}


@dataclass
class Stream:
    """A connection; each direction is a queue. Placement and the sidecar each have their end."""

    number: int
    sidecar: Sidecar
    up: deque[tuple[str, Any]] = field(default_factory=deque)
    down: deque[tuple[str, Any]] = field(default_factory=deque)
    heard_by_placement: float = 0.0
    inbox: deque[pb.PlacementOrder] = field(default_factory=deque)
    """Orders that came while the sidecar was busy with the last one."""
    heard: float = LONG_AGO
    known: bool = False
    """Whether placement took a report of it."""
    ended_there: bool = False
    ended_here: bool = False


@dataclass
class Sidecar:
    name: str
    view: PlacementView
    stream: Stream | None = None
    draining: int | None = None
    """The version of an update that is not answered yet."""


class World(RuleBasedStateMachine):
    bounds = PlacementBounds()
    """What placement's flags make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.placement = Dissemination(timeout=self.bounds.round)
        self.book = OrderBook(10)
        self.due: float | None = None
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.sidecars = [self.sidecar(f"10.0.0.{n}:1") for n in range(1, 4)]

    def sidecar(self, name: str) -> Sidecar:
        view = PlacementView(30.0, clock=lambda: self.now)
        view.named(name)
        return Sidecar(name, view)

    # --- placement --------------------------------------------------------------------------

    def obey(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Wait):
                self.due = None if effect.seconds is None else self.now + effect.seconds
            elif isinstance(effect, Order):
                raw = self.book.encoded(
                    effect.operation, effect.version, lambda: self.placement.hosts
                )
                for number in effect.streams:
                    self.streams[number].down.append(("order", raw))
            else:
                assert isinstance(effect, Late)
                for number in effect.streams:
                    self.end_there(self.streams[number])

    def end_there(self, stream: Stream) -> None:
        stream.ended_there = True
        stream.down.append(("end", None))

    def leave(self, stream: Stream) -> None:
        if not stream.ended_there:
            self.end_there(stream)
            if stream.known:
                self.obey(self.placement.leave(stream.number))

    def take(self, stream: Stream) -> None:
        kind, what = stream.up.popleft()
        if stream.ended_there:
            return
        stream.heard_by_placement = self.now
        if kind == "ping":
            stream.down.append(("pong", what))
        elif kind == "end":
            self.leave(stream)
        elif what.operation == pb.REPORT:
            stream.known = True
            self.obey(self.placement.report(stream.number, what))
        else:
            self.obey(self.placement.answer(stream.number, what.operation, what.version))

    # --- sidecars ---------------------------------------------------------------------------

    def send(self, sidecar: Sidecar, host: pb.Host) -> None:
        assert sidecar.stream is not None
        sidecar.stream.up.append(("host", host))

    def report(self, sidecar: Sidecar) -> None:
        types = sorted(sidecar.view.hosted)
        host = pb.Host(name=sidecar.name, id="a", namespace="n", entities=types)
        host.operation = pb.REPORT
        self.send(sidecar, host)

    def answer(self, sidecar: Sidecar, operation: str, version: int) -> None:
        self.send(sidecar, pb.Host(operation=OPERATIONS[operation], version=version))
        sidecar.view.answered()

    def lose(self, sidecar: Sidecar) -> None:
        stream, sidecar.stream, sidecar.draining = sidecar.stream, None, None
        if stream is not None:
            stream.ended_here = True
            stream.up.append(("end", None))
            sidecar.view.lost()

    def hear(self, stream: Stream) -> None:
        kind, what = stream.down.popleft()
        sidecar = stream.sidecar
        if stream.ended_here:
            return
        if kind == "pong":
            stream.heard = max(stream.heard, what)
        elif kind == "end":
            self.lose(sidecar)
        else:
            stream.inbox.append(pb.PlacementOrder.FromString(what.plain[_FRAME_BYTES:]))
            self.read_inbox(sidecar)

    def read_inbox(self, sidecar: Sidecar) -> None:
        stream = sidecar.stream
        while stream is not None and stream.inbox and sidecar.draining is None:
            self.order(sidecar, stream.inbox.popleft())
            stream = sidecar.stream

    def order(self, sidecar: Sidecar, order: pb.PlacementOrder) -> None:
        view, version = sidecar.view, order.version
        try:
            if order.operation == "lock":
                view.lock(version)
                self.answer(sidecar, "lock", version)
            elif order.operation == "update":
                view.update(order.tables, version)
                sidecar.draining = version
            elif view.unlock(version) is not None:
                self.answer(sidecar, "unlock", version)
        except RoundError:
            self.lose(sidecar)

    # --- what can happen --------------------------------------------------------------------

    @rule(seconds=st.floats(0.01, 2.5))
    def time_passes(self, seconds: float) -> None:
        """Placement looks at once at what time brings; sidecars do when they run."""
        end = self.now + seconds
        while True:
            silent = [
                s.heard_by_placement + self.bounds.silence for s in self.streams.values() if live(s)
            ]
            moments = [m for m in (self.due, *silent) if m is not None and m <= end]
            if not moments:
                break
            self.now = max(self.now, min(moments))
            for stream in list(self.streams.values()):
                if live(stream) and self.now >= stream.heard_by_placement + self.bounds.silence:
                    self.leave(stream)
            if self.due is not None and self.now >= self.due:
                self.due = None
                self.obey(self.placement.timer())
        self.now = end

    @rule(data=st.data())
    def ping(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.sidecars)).stream
        if stream is not None:
            stream.up.append(("ping", self.now))

    @initialize()
    def all_join(self) -> None:
        for sidecar in self.sidecars:
            sidecar.view.host(frozenset(TYPES))
            self.open(sidecar)
        self.world_goes_on(set(), set(), 6)

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        sidecar = data.draw(st.sampled_from(self.sidecars))
        if sidecar.stream is None:
            self.open(sidecar)

    def open(self, sidecar: Sidecar) -> None:
        self.last += 1
        stream = Stream(self.last, sidecar, heard_by_placement=self.now)
        self.streams[self.last] = sidecar.stream = stream
        lease = self.bounds.lease(pings=True)
        sidecar.view.connect(lambda: LONG_AGO if stream.ended_here else stream.heard, lease)
        sidecar.view.bound(lease, self.bounds.answer)
        self.report(sidecar)

    @rule(data=st.data())
    def connection_breaks(self, data: st.DataObject) -> None:
        self.lose(data.draw(st.sampled_from(self.sidecars)))

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Nothing is said any more, and nothing is remembered."""
        index = data.draw(st.sampled_from(range(len(self.sidecars))))
        if self.sidecars[index].stream is not None:
            self.sidecars[index].stream.ended_here = True  # type: ignore[union-attr]
        self.sidecars[index] = self.sidecar(self.sidecars[index].name)

    @rule(data=st.data(), types=st.sets(st.sampled_from(TYPES)))
    def host(self, data: st.DataObject, types: set[str]) -> None:
        sidecar = data.draw(st.sampled_from(self.sidecars))
        sidecar.view.withdrawn(sidecar.view.host(frozenset(types)))
        if sidecar.stream is not None:
            self.report(sidecar)

    @rule(
        without=st.sets(st.sampled_from(range(3)), max_size=2),
        slow=st.sets(st.sampled_from(range(3)), max_size=1),
        steps=st.integers(1, 30),
    )
    def world_goes_on(self, without: set[int], slow: set[int], steps: int) -> None:
        """Everything arrives and is done, but for sidecars that are cut off or drain long."""
        for _ in range(steps):
            self.time_passes(0.3)
            self.exchange(without, slow)
            self.one_owner()
            for index, sidecar in enumerate(self.sidecars):
                if sidecar.stream is not None and index not in without:
                    sidecar.stream.up.append(("ping", self.now))

    def exchange(self, without: set[int], slow: set[int]) -> None:
        while moves := self.moves(without, slow):
            for move in moves:
                move()

    @rule(chance=st.randoms(use_true_random=False), steps=st.integers(1, 60))
    def some_things_happen(self, chance: random.Random, steps: int) -> None:
        """A few messages and drains, in any order, with time passing now and then."""
        for _ in range(steps):
            moves = self.moves(set(), set())
            if moves:
                chance.choice(moves)()
            if chance.random() < 0.2:
                self.time_passes(chance.random())
            self.one_owner()

    def moves(self, without: set[int], slow: set[int]) -> list[Callable[[], None]]:
        """What can happen next: one message of a direction, or the end of a drain."""
        away = [self.sidecars[index].name for index in without]
        found: list[Callable[[], None]] = []
        for stream in self.streams.values():
            if stream.sidecar.name in away:
                continue
            if stream.up:
                found.append(partial(self.take, stream))
            if stream.down:
                found.append(partial(self.hear, stream))
        for index, sidecar in enumerate(self.sidecars):
            if index not in without and index not in slow and sidecar.draining is not None:
                found.append(partial(self.finish, sidecar))
        return found

    def finish(self, sidecar: Sidecar) -> None:
        """Draining is over."""
        version, sidecar.draining = sidecar.draining, None
        if version is not None:
            sidecar.view.drained()
            self.answer(sidecar, "update", version)
            self.read_inbox(sidecar)

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def one_owner(self) -> None:
        for ref in REFS:
            believers = [s.name for s in self.sidecars if s.view.is_mine(ref)]
            assert len(believers) <= 1, (ref, believers)
            writers = [s.name for s in self.sidecars if s.view.holds(ref)]
            assert len(writers) <= 1, (ref, writers)


def live(stream: Stream) -> bool:
    return not stream.ended_there


class QuickWorld(World):
    """Placement with the shortest times its flags allow, or nearly."""

    bounds = PlacementBounds(silence=2.0, round=3.0)


class SlowWorld(World):
    bounds = PlacementBounds(silence=20.0, round=30.0)


TestWorld, TestQuickWorld, TestSlowWorld = World.TestCase, QuickWorld.TestCase, SlowWorld.TestCase
TestWorld.settings = TestQuickWorld.settings = TestSlowWorld.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_somebody_owns_every_actor_when_nothing_goes_wrong() -> None:
    """The model is no good if nobody ever owns anything."""
    world = World()
    world.all_join()
    owners = {ref: [s.name for s in world.sidecars if s.view.is_mine(ref)] for ref in REFS}
    assert all(len(names) == 1 for names in owners.values())
    assert len({names[0] for names in owners.values()}) > 1


def test_a_sidecar_that_is_cut_off_is_replaced_by_the_others() -> None:
    world = World()
    world.all_join()
    world.world_goes_on({0}, set(), 30)
    owners = {ref: [s.name for s in world.sidecars if s.view.is_mine(ref)] for ref in REFS}
    assert all(len(names) == 1 for names in owners.values())
    assert world.sidecars[0].name not in {names[0] for names in owners.values()}


@settings(max_examples=150, deadline=None)
@given(
    chance=st.randoms(use_true_random=False),
    what=st.sampled_from(["leaves", "joins", "drops", "adds"]),
)
def test_while_one_change_goes_round_in_any_order(chance: random.Random, what: str) -> None:
    world = World()
    world.all_join()
    changing = world.sidecars[0]
    if what == "joins":
        world.lose(changing)
        world.world_goes_on(set(), set(), 3)
        world.open(changing)
    elif what == "leaves":
        world.lose(changing)
    else:
        changing.view.withdrawn(changing.view.host(frozenset({"U"})))
        world.report(changing)
    if what == "adds":
        world.world_goes_on(set(), set(), 3)
        changing.view.host(frozenset(TYPES))
        world.report(changing)
    while moves := world.moves(set(), set()):
        chance.choice(moves)()
        world.one_owner()
    world.world_goes_on(set(), set(), 2)
    for ref in REFS:
        assert sum(s.view.is_mine(ref) for s in world.sidecars) == 1


def test_a_sidecar_that_drains_too_long_stops_owning_before_placement_gives_it_up() -> None:
    """Its other type did not move, and its pings are answered to the end."""
    world = World()
    world.all_join()
    slow, other = world.sidecars[0], world.sidecars[1]
    other.view.withdrawn(other.view.host(frozenset({"T"})))
    world.report(other)
    world.world_goes_on(set(), {0}, 26)
    assert slow.draining is not None
    assert slow.view.connected
    world.world_goes_on({0}, set(), 3)
    assert slow.view.connected, "it has not heard yet that its stream was ended"
    for ref in REFS:
        assert sum(s.view.is_mine(ref) for s in world.sidecars) == 1
        assert not slow.view.is_mine(ref)
