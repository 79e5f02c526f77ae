"""Sidecars that come, change, answer late, answer twice, go and fall silent, in any order."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_placement.dissemination import Dissemination, Effects, Late, Order, Wait
from dapr_placement.hosts import as_reported

_ANSWERS: dict[str, Any] = {"lock": pb.LOCK, "update": pb.UPDATE, "unlock": pb.UNLOCK}
_TYPES = st.frozensets(st.sampled_from(["A", "B", "C"]))
Tables = dict[str, list[str]]


class Sidecar:
    """What one has been told, and what it will answer."""

    def __init__(self) -> None:
        self.reported: frozenset[str] = frozenset()
        self.inbox: deque[Order] = deque()
        self.answered: set[tuple[str, int]] = set()
        self.got: Tables | None = None
        self.version = -1
        self.unlocked = -1


class Namespace(RuleBasedStateMachine):
    """A window of collection or none is chosen by the subclasses."""

    window = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.machine = Dissemination(timeout=8.0, window=self.window)
        self.sidecars: dict[int, Sidecar] = {}
        self.numbers = 0
        self.waits: float | None = None
        self.last_version = 0

    # --- what comes in ----------------------------------------------------------------------

    @rule(types=_TYPES)
    def join(self, types: frozenset[str]) -> None:
        self.numbers += 1
        self.sidecars[self.numbers] = Sidecar()
        self._report(self.numbers, types)

    @precondition(lambda self: self.sidecars)
    @rule(data=st.data(), types=_TYPES)
    def report_again(self, data: st.DataObject, types: frozenset[str]) -> None:
        self._report(self._any(data), types)

    @precondition(lambda self: any(s.inbox for s in self.sidecars.values()))
    @rule(data=st.data(), repeated=st.booleans())
    def answer(self, data: st.DataObject, repeated: bool) -> None:
        ready = [number for number, one in self.sidecars.items() if one.inbox]
        number = data.draw(st.sampled_from(ready))
        for _ in range(2 if repeated else 1):
            self._answer(number, pop=not repeated)

    @precondition(lambda self: self.sidecars)
    @rule(data=st.data(), types=_TYPES)
    def heartbeat(self, data: st.DataObject, types: frozenset[str]) -> None:
        """A sidecar of before: its message answers what was ordered, or reports."""
        number = self._any(data)
        one = self.sidecars[number]
        report = as_reported(self._host(number, types))
        phase = self.machine._phase
        if phase in _ANSWERS and number in self.machine._members:
            one.answered.add((phase, self.machine.version))
        else:
            one.reported = types
        self._carry_out(self.machine.heartbeat(number, report))

    @precondition(lambda self: self.sidecars)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = self._any(data)
        del self.sidecars[number]
        self._carry_out(self.machine.leave(number))
        self._forget_when_empty()

    @precondition(lambda self: self.waits is not None)
    @rule()
    def time_passes(self) -> None:
        self.waits = None
        self._carry_out(self.machine.timer())
        self._forget_when_empty()

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def nothing_is_kept_for_those_who_left(self) -> None:
        machine = self.machine
        assert set(machine._held) | set(machine._members) == set(self.sidecars)
        assert machine._waiting <= set(machine._members) <= set(self.sidecars)
        assert set(machine._hosts) - set(self.sidecars) <= machine._left
        assert machine._left <= set(machine._hosts)
        assert machine.is_idle or self.waits is not None, "nothing waits for ever"
        if machine.is_idle:
            assert not machine._held
            assert not machine._left
            assert not machine._waiting

    def teardown(self) -> None:
        """When everybody answers and nothing new happens, all have the same right tables."""
        for _ in range(20):
            while any(one.inbox for one in self.sidecars.values()):
                for number, one in list(self.sidecars.items()):
                    if one.inbox:
                        self._answer(number)
            if self.machine.is_idle:
                break
            assert self.waits is not None
            self.time_passes()
        assert self.machine.is_idle
        expected = self._tables()
        for one in self.sidecars.values():
            assert one.got == expected
            assert one.version == one.unlocked == self.machine.version

    # --- carrying out -----------------------------------------------------------------------

    def _any(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.sidecars)))

    def _host(self, number: int, types: frozenset[str]) -> pb.Host:
        return pb.Host(name=f"host-{number}", id=f"app-{number}", namespace="n", entities=types)

    def _report(self, number: int, types: frozenset[str]) -> None:
        self.sidecars[number].reported = types
        self._carry_out(self.machine.report(number, as_reported(self._host(number, types))))

    def _answer(self, number: int, *, pop: bool = True) -> None:
        inbox = self.sidecars[number].inbox
        order = inbox.popleft() if pop else inbox[0]
        self.sidecars[number].answered.add((order.operation, order.version))
        operation = _ANSWERS[order.operation]
        self._carry_out(self.machine.answer(number, operation, order.version))

    def _tables(self) -> Tables:
        return {
            f"host-{number}": sorted(one.reported)
            for number, one in self.sidecars.items()
            if one.reported
        }

    def _carry_out(self, effects: Effects) -> None:
        orders = [effect for effect in effects if isinstance(effect, Order)]
        handed_over = [order.operation for order in orders] == ["lock", "update", "unlock"]
        assert handed_over or len(orders) <= 1
        for effect in effects:
            if isinstance(effect, Wait):
                self.waits = effect.seconds
            elif isinstance(effect, Late):
                self._drop(effect)
            else:
                self._order(effect, handed_over)

    def _drop(self, late: Late) -> None:
        for number in late.streams:
            one = self.sidecars.pop(number)
            version = self.last_version
            assert late.version == version
            assert not one.answered >= {(o, version) for o in ("lock", "update", "unlock")}

    def _order(self, order: Order, handed_over: bool) -> None:
        assert order.version == self.machine.version >= self.last_version
        if order.operation == "lock" and not handed_over:
            assert order.version > self.last_version, "a round has a version of its own"
        self.last_version = order.version
        if not handed_over:
            assert set(order.streams) == set(self.machine._members), "a round is everybody's"
        hosts = {name: list(host.entities) for name, host in self.machine.hosts.items()}
        for number in order.streams:
            one = self.sidecars[number]
            assert order.version >= one.version
            if order.operation != "lock" and not handed_over:
                before = "lock" if order.operation == "update" else "update"
                assert (before, order.version) in one.answered
            one.inbox.append(order)
            if order.operation == "update":
                one.version, one.got = order.version, hosts
            elif order.operation == "unlock":
                assert one.version == order.version
                one.unlocked = order.version

    def _forget_when_empty(self) -> None:
        if self.machine.is_empty:
            assert not self.sidecars
            self.machine = Dissemination(timeout=8.0, window=self.window)
            self.waits, self.last_version = None, 0


class WithAWindow(Namespace):
    window = 2.0


TestAtOnce = Namespace.TestCase
TestAtOnce.settings = settings(max_examples=60, stateful_step_count=40)
TestWithAWindow = WithAWindow.TestCase
TestWithAWindow.settings = settings(max_examples=60, stateful_step_count=40)
