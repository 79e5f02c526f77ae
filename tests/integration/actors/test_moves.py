"""Actors come and go: hosts join, leave, die, fall asleep, become unhealthy, lose placement."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.http_call import Answer, call
from harness.placement_process import Placement
from integration.actors.hosts import (
    STORE,
    call_actor,
    client,
    host,
    owned_by,
    runtime,
    until,
    wait_hosts,
)

KILL_SECONDS = 40.0
"""For another host to take over, on a busy machine."""


def in_background(work: Callable[[], Answer]) -> Future[Answer]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def answered_by(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return str(answer.json["app"])


def test_an_idle_actor_is_deactivated_and_comes_back(placement: Placement) -> None:
    config = {"entities": ["Idle"], "actorIdleTimeout": "4s"}  # time to look at it
    with host(placement.address, config, name="moves-idle") as here:
        here.call("Idle/1")
        assert here.active() == {"Idle": 1}
        here.app.wait_report(event="deactivate", actor="Idle/1")
        until(lambda: here.active() == {"Idle": 0}, "it is gone")
        here.call("Idle/1")
        assert here.active() == {"Idle": 1}


def test_a_host_joins_and_leaves_while_calls_run(placement: Placement) -> None:
    config = {"entities": ["Join"], "drainOngoingCallTimeout": "20s"}
    with host(placement.address, config, name="moves-first") as first:
        wait_hosts(placement, "Join", 1)
        with host(placement.address, config, name="moves-second") as second:
            pair = [first, second]
            moved, stays = owned_by(pair, 1, "Join")[0], owned_by(pair, 0, "Join")[0]
            until(
                lambda: answered_by(first.call(moved)) == second.sidecar.app_id,
                "the tables are in force",
            )
            assert answered_by(second.call(stays)) == first.sidecar.app_id
            running = in_background(lambda: first.call(moved, "write?seconds=1"))
            second.app.wait_report(event="call", actor=moved, method="write")
        second.app.wait_report(event="deactivate", actor=moved, running=0)
        assert running.result(30).json == {"written": 204}, "the call was drained, and could write"
        assert answered_by(first.call(moved)) == first.sidecar.app_id


def test_calls_that_take_longer_than_the_drain_are_ended(placement: Placement) -> None:
    config = {"entities": ["Long"], "drainOngoingCallTimeout": "1s"}
    with (
        host(placement.address, config, name="moves-long") as first,
        client(placement.address) as outside,
    ):
        wait_hosts(placement, "Long", 1)
        second = host(placement.address, config, name="moves-longer")
        names = [f"Long/a{number}" for number in range(20)]
        with ThreadPoolExecutor(20) as pool:
            # Another host has started by then, on a busy machine too.
            way = "write?seconds=30"
            calls = {
                name: pool.submit(call_actor, outside, name, way, timeout=90) for name in names
            }
            first.app.wait_reports(20, event="call", method="write")
            with second as other:
                wait_hosts(placement, "Long", 2)
                moved = [n for n in names if n in owned_by([first, other], 1, "Long", 200)]
                answers = {name: one.result(90) for name, one in calls.items()}
                assert moved
                for name in moved:
                    first.app.wait_report(event="deactivate", actor=name)
                    assert "leaves this sidecar" in answers[name].json["message"]
                for name in set(names) - set(moved):
                    assert answers[name].json == {"written": 204}, "it did not move"
                written = first.app.wait_reports(20, event="written")
                refused = {one["actor"] for one in written if one["status"] != 204}
                assert refused == set(moved), "what does not live here any more cannot write"


def test_a_killed_host_is_replaced(placement: Placement) -> None:
    config = {"entities": ["Kill"]}
    with (
        host(placement.address, config, name="moves-stays") as stays,
        host(placement.address, config, name="moves-dies", exit_code=None) as dies,
        client(placement.address) as outside,
    ):
        wait_hosts(placement, "Kill", 2)
        actor = owned_by([stays, dies], 1, "Kill")[0]
        assert answered_by(call_actor(outside, actor)) == dies.sidecar.app_id
        dies.sidecar.signal(signal.SIGKILL)
        began = time.monotonic()
        assert answered_by(call_actor(outside, actor, timeout=60)) == stays.sidecar.app_id
        assert time.monotonic() - began < KILL_SECONDS


def test_a_sidecar_that_slept_owns_nothing_when_it_wakes(placement: Placement) -> None:
    config = {"entities": ["Sleep"]}
    with (
        host(placement.address, config, name="moves-awake") as awake,
        host(placement.address, config, name="moves-asleep") as asleep,
    ):
        wait_hosts(placement, "Sleep", 2)
        actor = owned_by([awake, asleep], 1, "Sleep")[0]
        assert answered_by(asleep.call(actor)) == asleep.sidecar.app_id
        asleep.sidecar.signal(signal.SIGSTOP)
        try:
            wait_hosts(placement, "Sleep", 1)
            assert answered_by(awake.call(actor)) == awake.sidecar.app_id
        finally:
            asleep.sidecar.signal(signal.SIGCONT)
        body = [{"operation": "upsert", "request": {"key": "k", "value": 1}}]
        path = f"/v1.0/actors/{actor}/state"
        answer = call(asleep.sidecar.http_port, "POST", path, body, timeout=60)
        assert answer.status != 204
        asleep.app.wait_report(event="deactivate", actor=actor)
        wait_hosts(placement, "Sleep", 2)


def test_placement_goes_and_comes_back() -> None:
    config = {"entities": ["Lost"]}
    with Placement() as first:
        port = first.port
        started = host(first.address, config, name="moves-lost")
        here = started.__enter__()
        try:
            here.call("Lost/1")
            assert runtime(here.sidecar)["placement"] == "placement: connected"
        except BaseException:
            started.__exit__(None, None, None)
            raise
    try:
        here.app.wait_report(event="deactivate", actor="Lost/1")
        until(lambda: here.active() == {"Lost": 0}, "its actors are gone")
        shown = runtime(here.sidecar)
        assert (shown["placement"], shown["hostReady"]) == ("placement: disconnected", False)
        waiting = in_background(lambda: here.call("Lost/1", timeout=60))
        with pytest.raises(TimeoutError):
            waiting.result(1)
        with Placement(port=port):
            assert answered_by(waiting.result(30)) == "moves-lost"
    finally:
        started.__exit__(None, None, None)


@pytest.mark.slow
def test_placement_that_gives_up_early() -> None:
    """Its sidecars own for a shorter time, and show so much more often that they are alive."""
    config = {"entities": ["Early"]}
    flags = ("--keepalive-time=2s", "--keepalive-timeout=2s", "--disseminate-timeout=6s")
    with Placement(*flags) as early, host(early.address, config, name="moves-early") as here:
        wait_hosts(early, "Early", 1)
        lines = len(here.sidecar.lines)
        end = time.monotonic() + 12.0  # three times as long as placement waits
        while time.monotonic() < end:
            assert here.call("Early/1").status == 200
        assert not [line for line in here.sidecar.lines[lines:] if "stream to placement" in line]


def test_an_unhealthy_app_hosts_nothing(placement: Placement) -> None:
    config = {"entities": ["Ill"]}
    flags = [
        "--enable-app-health-check",
        "--app-health-probe-interval=3",
        "--app-health-probe-timeout=2900",
        "--app-health-threshold=1",
    ]
    with host(placement.address, config, name="moves-ill", flags=flags) as here:
        wait_hosts(placement, "Ill", 1)
        here.call("Ill/1")
        call(here.app.port, "PUT", "/health/500")
        wait_hosts(placement, "Ill", 0)
        assert here.active() == {}
        call(here.app.port, "PUT", "/health/200")
        wait_hosts(placement, "Ill", 1)
        assert here.call("Ill/1").status == 200


def test_the_actor_store_is_reloaded(placement: Placement) -> None:
    config = {"entities": ["Reload"]}
    features = {"features": [{"name": "HotReload", "enabled": True}]}
    with host(
        placement.address, config, name="moves-reload", resources=(), config=features
    ) as here:
        file = Path(here.sidecar.resources_path) / "store.yaml"
        here.sidecar.wait_line("no state store has actorStateStore set to true")
        file.write_text(yaml.safe_dump(STORE))
        wait_hosts(placement, "Reload", 1)
        assert here.call("Reload/1").status == 200
        file.unlink()
        here.app.wait_report(event="deactivate", actor="Reload/1")
        wait_hosts(placement, "Reload", 0)
        assert here.active() == {}


def test_a_second_actor_store_is_refused(placement: Placement) -> None:
    features = {"features": [{"name": "HotReload", "enabled": True}]}
    config = {"entities": ["Second"]}
    with host(placement.address, config, name="moves-second-store", config=features) as here:
        second: dict[str, Any] = {**STORE, "metadata": {"name": "second"}}
        file = Path(here.sidecar.resources_path) / "second.yaml"
        file.write_text(yaml.safe_dump(second))
        here.sidecar.wait_line("detected duplicate actor state store: 'actors' has actorStateStore")
        wait_hosts(placement, "Second", 1)
