"""Three virtual machines with Consul, sentry, placement and sidecars: any one of them may die."""

from __future__ import annotations

import faulthandler
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import pytest
from cryptography import x509
from harness.consul import consul_program
from harness.network_namespaces import what_is_missing
from hosting.deployment import VirtualMachine, boot, eventually, three_machines

ACTORS = [str(number) for number in range(12)]
IN_A_ROW = 30  # while one of three replicas is dead and chosen, so many do not succeed by luck
PAUSE_SECONDS = 2.0  # that of a call that had to find out
LIMIT_SECONDS = 120.0


def _reason() -> str:
    if not consul_program():
        return "consul is not installed"
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return what_is_missing()


REASON = _reason()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON), reason=REASON),
]


@dataclass(frozen=True)
class Healed:
    """``seconds`` from the loss until everything succeeded again, and at once."""

    seconds: float
    failures: int
    slowest_seconds: float


def test_a_machine_may_die_and_the_others_serve() -> None:
    faulthandler.cancel_dump_traceback_later()  # some twenty programs; each wait has its own limit
    began = time.monotonic()
    with three_machines() as machines:
        _say(f"\nthree machines are up after {time.monotonic() - began:.1f} s")
        _assert_mutual_tls(machines)
        _wait_for_all(machines)
        first = machines[0]
        counted = {actor: first.machine.do(first.add, actor)[1] for actor in ACTORS}
        leader = next(each for each in machines if each.leads_placement())
        counted = _lose(leader, machines, counted)
        boot(leader)
        _wait_for_all(machines)
        rest = sorted(machines, key=lambda each: (each is leader, not each.leads_consul()))
        _lose(rest[0], machines, counted)
    _say(f"all of it took {time.monotonic() - began:.1f} s")


def _assert_mutual_tls(machines: Sequence[VirtualMachine]) -> None:
    for each in machines:
        certificate = machines[0].machine.do(each.certificate_of_orders)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ids = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert ids == ["spiffe://public/ns/default/orders"]


def _wait_for_all(machines: Sequence[VirtualMachine]) -> None:
    """Every machine's app is called by every other's."""
    names = {each.name for each in machines}
    for machine in machines:
        eventually(partial(_answer, machine, names))


def _answer(machine: VirtualMachine, names: set[str]) -> bool:
    """Whether just these answer many calls of a machine's checkout app."""
    return names == machine.machine.do(lambda: {machine.ask_orders() for _ in range(IN_A_ROW)})


def _lose(
    lost: VirtualMachine, machines: Sequence[VirtualMachine], counted: dict[str, int]
) -> dict[str, int]:
    """What the actors have counted when all is well again without it."""
    others = [each for each in machines if each is not lost]
    led = [
        name
        for name, leads in (("placement", lost.leads_placement()), ("Consul", lost.leads_consul()))
        if leads
    ]
    began = time.monotonic()
    lost.lose_power()
    invocations = [each.machine.submit(_invoke_until_healed, each, began) for each in others]
    shares = [ACTORS[number :: len(others)] for number in range(len(others))]
    actors = [
        each.machine.submit(_add_to_all, each, share, began)
        for each, share in zip(others, shares, strict=True)
    ]
    _report(f"{lost.name} died, which led {' and '.join(led) or 'nothing'}", invocations, actors)
    now = {actor: count for done in actors for actor, (_, count) in done.result()[1].items()}
    homes = {home for done in actors for home, _ in done.result()[1].values()}
    assert homes <= {each.name for each in others}
    assert all(now[actor] > counted[actor] for actor in ACTORS)
    return now


def _report(
    what: str,
    invocations: Sequence[Future[Healed]],
    actors: Sequence[Future[tuple[Healed, dict[str, tuple[str, int]]]]],
) -> None:
    _say(what)
    healed = {"invocations succeed": [done.result() for done in invocations]}
    healed["actors have moved"] = [done.result()[0] for done in actors]
    for name, results in healed.items():
        _say(
            f"  {name} after {max(each.seconds for each in results):.1f} s; "
            f"{sum(each.failures for each in results)} failed before, "
            f"the slowest took {max(each.slowest_seconds for each in results):.1f} s"
        )


def _invoke_until_healed(machine: VirtualMachine, began: float) -> Healed:
    """Call after call until ``IN_A_ROW`` of them have succeeded without a pause."""
    healed, row, failures, slowest = began, 0, 0, 0.0
    while row < IN_A_ROW:
        start = time.monotonic()
        assert start - began < LIMIT_SECONDS, f"{failures} calls failed, and still do"
        failed = False
        try:
            machine.ask_orders()
        except (AssertionError, OSError):
            failed = True
        now = time.monotonic()
        failures += failed
        slowest = max(slowest, now - start)
        row += 1
        if failed or now - start > PAUSE_SECONDS:
            healed, row = now, 0
        time.sleep(0.02)
    return Healed(healed - began, failures, slowest)


def _add_to_all(
    machine: VirtualMachine, actors: Sequence[str], began: float
) -> tuple[Healed, dict[str, tuple[str, int]]]:
    """Until each actor has answered; where it is, and what it has counted."""
    found: dict[str, tuple[str, int]] = {}
    failures, slowest = 0, 0.0
    while left := [actor for actor in actors if actor not in found]:
        start = time.monotonic()
        assert start - began < LIMIT_SECONDS, f"actors {left} do not answer"
        try:
            found[left[0]] = machine.add(left[0])
        except (AssertionError, OSError):
            failures += 1
        slowest = max(slowest, time.monotonic() - start)
    return Healed(time.monotonic() - began, failures, slowest), found


def _say(text: str) -> None:
    print(text)  # noqa: T201 - what was measured
