"""The units of ``packaging/systemd`` under a real systemd, set up as the guide says.

A virtual machine plays ``guest/scenario.py``; this looks at what it tells.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness.consul import consul_program
from hosting import machine_image, machine_run

SENTRY, PLACEMENT = "dapr-sentry.service", "dapr-placement.service"
ORDERS, CHECKOUT = "daprd@orders.service", "daprd@checkout.service"
UNITS = (SENTRY, PLACEMENT, ORDERS, CHECKOUT)
NO_CAPABILITY, ON, FILTERED = "0000000000000000", "1", "2"
FEW_FILES = 1024  # what a program has that does not ask for more
RESTART_SECONDS, STOP_SECONDS, SLOW_SECONDS = 120.0, 30.0, 1.0  # an emulated machine is slow
MOST_EXPOSED = 2.0
PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3", "fatal": "2"}
_LEVEL = re.compile(r"^time=\S+ level=(\w+) msg=")
Facts = Mapping[str, Any]


def _reason() -> str:
    if not os.environ.get("TEST_MACHINE"):
        return "it emulates a machine for ten minutes: TEST_MACHINE=emulated or TEST_MACHINE=kvm"
    if not consul_program():
        return "consul is not installed"
    return machine_image.what_is_missing()


REASON = _reason()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]


def test_the_units_under_a_real_systemd(tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # the machine has a limit of its own
    try:
        facts = machine_run.facts(tmp_path)
    finally:
        shutil.rmtree(tmp_path)  # its disks
    print(json.dumps(facts, indent=1))  # noqa: T201 - what was measured
    failures = []
    for check in CHECKS:
        try:
            check(facts)
        except AssertionError as error:
            failures.append(f"{check.__name__}: {error}")
    assert not failures, "\n".join(failures)


def systemd_takes_the_units_without_a_word(facts: Facts) -> None:
    assert [line for line in facts["verify"].splitlines() if "dapr" in line] == []
    assert facts["objections"] == []
    assert facts["system"] == "running"  # of the second boot: nothing failed


def a_start_returns_when_the_program_serves(facts: Facts) -> None:
    assert facts["sentry listens at once"]
    assert facts["placement listens at once"]
    for app in ("orders", "checkout"):
        assert facts[f"{app} serves at once"][0] == 204, facts[f"{app} serves at once"]


def a_program_may_do_nothing_it_need_not(facts: Facts) -> None:
    for name, found in facts["processes"].items():
        assert set(found["Uid"].split()) != {"0"}, name
        assert found["CapEff"] == found["CapBnd"] == NO_CAPABILITY, name
        assert found["NoNewPrivs"] == ON, name
        assert found["Seccomp"] == FILTERED, name
    for name, line in facts["exposure"].items():
        assert float(re.findall(r"[\d.]+", line)[-1]) <= MOST_EXPOSED, f"{name}: {line}"


def a_program_may_have_many_connections(facts: Facts) -> None:
    for name, found in facts["processes"].items():
        assert int(found["files"]) > FEW_FILES, f"{name}: {found['files']} open files"


def the_issuers_key_is_sentrys_alone(facts: Facts) -> None:
    user = facts["processes"][SENTRY]["Uid"].split()[0]
    for authority in (facts["authority"], facts["moved authority"]):
        assert {owner for owner, _ in authority.values()} == {int(user)}
        assert authority["dapr-sentry"][1] == "700"
        assert authority["issuer.key"][1] == "600"
        assert {"ca.crt", "issuer.crt", "issuer.key"} <= set(authority)
    assert facts["it is the same"]


def the_state_of_a_sidecar_is_its_own(facts: Facts) -> None:
    user = facts["processes"][ORDERS]["Uid"].split()[0]
    assert facts["state of orders"]["orders"] == [int(user), "700"]


def the_journal_knows_how_bad_a_line_is(facts: Facts) -> None:
    for name, lines in facts["journal"].items():
        assert lines, name
        for message, priority in lines:
            found = _LEVEL.match(message)
            assert found, f"{name}: {message}"
            assert priority == PRIORITIES[found[1]], f"{name}: {message}"
    said = {found[1] for message, _ in facts["journal"][SENTRY] if (found := _LEVEL.match(message))}
    assert {"info", "fatal"} <= said


def what_is_killed_comes_back(facts: Facts) -> None:
    for name in (SENTRY, PLACEMENT, ORDERS):
        killed = facts[f"killed {name}"]
        assert 1.0 <= killed["seconds"] < RESTART_SECONDS, f"{name}: {killed}"
        assert killed["NRestarts"] == "1", f"{name}: {killed}"
    assert _count(facts["count after the kills"]) == _count(facts["count"]) + 1


def what_cannot_start_is_tried_until_it_can(facts: Facts) -> None:
    assert int(facts["broken"]["NRestarts"]) > 5, facts["broken"]
    assert facts["mended"]["ActiveState"] == "active", facts["mended"]


def a_call_under_way_is_answered_before_the_stop(facts: Facts) -> None:
    drained = facts["drained"]
    assert drained["answer"][0] == 200, drained
    assert SLOW_SECONDS < drained["seconds"] < STOP_SECONDS, drained
    assert drained["Result"] == "success", drained


def a_component_writes_where_the_guide_lets_it(facts: Facts) -> None:
    assert facts["file"][0] in (200, 204), facts["file"]
    assert facts["files"] == "dapr-checkout /srv/files/a.txt"


def everything_is_there_after_a_reboot(facts: Facts) -> None:
    for name, found in facts["units after the reboot"].items():
        assert found["ActiveState"] == "active", f"{name}: {found}"
        assert found["NRestarts"] == "0", f"{name}: {found}"
    assert _count(facts["count after the reboot"]) == _count(facts["count"]) + 2


def nothing_has_to_be_killed(facts: Facts) -> None:
    for name, (seconds, result) in facts["stop"].items():
        assert result == "success", name
        assert seconds < STOP_SECONDS, f"{name}: {seconds} s"
    for said in (facts["shutdown"], facts["said of stops"]):
        assert [text for text in said if "Killing" in text or "timed out" in text] == []


def _count(answer: tuple[int, str]) -> int:
    status, body = answer
    assert status == 200, answer
    return int(json.loads(body)["count"])


CHECKS = (
    systemd_takes_the_units_without_a_word,
    a_start_returns_when_the_program_serves,
    a_program_may_do_nothing_it_need_not,
    a_program_may_have_many_connections,
    the_issuers_key_is_sentrys_alone,
    the_state_of_a_sidecar_is_its_own,
    the_journal_knows_how_bad_a_line_is,
    what_is_killed_comes_back,
    what_cannot_start_is_tried_until_it_can,
    a_call_under_way_is_answered_before_the_stop,
    a_component_writes_where_the_guide_lets_it,
    everything_is_there_after_a_reboot,
    nothing_has_to_be_killed,
)
