"""Reminders of two real sidecars of one app: they fail over, move and go on after a restart."""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness.actor_hosts import Host, host, sqlite
from harness.placement_process import Placement

ACTORS = [str(number) for number in range(40)]


def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not true after {seconds:g} s"
        time.sleep(0.02)


@pytest.fixture
def placement() -> Iterator[Placement]:
    with Placement() as found:
        yield found


def fired(*hosts: Host) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in hosts:
        total += one.fired()
    return total


def test_reminders_fire_where_their_actors_are(tmp_path: Path, placement: Placement) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag) as one, host(sqlite(tmp_path), flag) as two:
        for actor in ACTORS:
            one.remind(actor, "r", dueTime="1s", data={"n": 1})
        told = time.time()
        wait(lambda: len(fired(one, two)) == len(ACTORS))
        # Those of the other sidecar did not wait for its next look into the store.
        latest = max(line["time"] for h in (one, two) for line in h.app.reports() if "body" in line)
        assert latest - told < 20
        wait(lambda: one.call("GET", "/v1.0/actors/T/1/reminders/r").status == 404)
        assert one.fired()
        assert two.fired()
        assert fired(one, two) == dict.fromkeys((f"{a}/r" for a in ACTORS), 1)
        bodies = {line["body"] for line in one.app.reports() if "/remind/" in line["path"]}
        assert bodies == {'{"data":{"n":1},"dueTime":"1s","period":""}'}


def test_a_killed_sidecar_s_reminders_go_on_at_the_other(
    tmp_path: Path, placement: Placement
) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag) as one, host(sqlite(tmp_path), flag, exit_code=None) as two:
        for actor in ACTORS:
            one.remind(actor, "r", dueTime="0s", period="1s")
        wait(lambda: len(fired(one, two)) == len(ACTORS))
        theirs = set(two.fired())
        assert theirs
        two.sidecar.signal(signal.SIGKILL)
        wait(lambda: theirs <= set(one.fired()))


def test_a_sidecar_that_stops_hands_over_and_nothing_fires_twice(
    tmp_path: Path, placement: Placement
) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag) as one:
        with host(sqlite(tmp_path), flag) as two:
            for number, actor in enumerate(ACTORS):
                one.remind(actor, "once", dueTime=f"{1000 + number * 100}ms")
            wait(lambda: len(fired(one, two)) >= len(ACTORS) // 3)
            two.sidecar.stop()
            before = two.fired()
        wait(lambda: len(fired(one) + before) == len(ACTORS))
        assert before + one.fired() == dict.fromkeys((f"{a}/once" for a in ACTORS), 1)


def test_a_run_under_way_when_the_sidecar_stops_is_noted(
    tmp_path: Path, placement: Placement
) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag, seconds=1.0) as one:
        one.remind("1", "hourly", dueTime="0s", period="R9/PT1H")
        wait(lambda: one.fired() == {"1/hourly": 1})
        one.sidecar.stop()
    with closing(sqlite3.connect(tmp_path / "state.db")) as store, store:
        [(encoded,)] = store.execute("select value from state where key = 'T||1||hourly'")
    assert json.loads(base64.b64decode(encoded))["repetitionLeft"] == 8


def test_a_restart_goes_on_where_it_stopped(tmp_path: Path, placement: Placement) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag) as one:
        one.remind("1", "once", dueTime="0s")
        one.remind("1", "three", dueTime="0s", period="R3/PT2S")
        wait(lambda: one.fired() == {"1/once": 1, "1/three": 1})
        wait(lambda: one.call("GET", "/v1.0/actors/T/1/reminders/once").status == 404)
    with host(sqlite(tmp_path), flag) as two:
        wait(lambda: two.fired() == {"1/three": 2})
        wait(lambda: two.call("GET", "/v1.0/actors/T/1/reminders/three").status == 404)


def test_partitions_as_the_app_wants_them(tmp_path: Path, placement: Placement) -> None:
    flag = f"--placement-host-address={placement.address}"
    config = '{"entities":["T"],"remindersStoragePartitions":3}'
    with host(sqlite(tmp_path), flag, config=config) as one:
        for actor in ACTORS[:10]:
            one.remind(actor, "r", dueTime="500ms")
        wait(lambda: len(one.fired()) == 10)


def test_timers_and_state(tmp_path: Path, placement: Placement) -> None:
    flag = f"--placement-host-address={placement.address}"
    with host(sqlite(tmp_path), flag) as one:
        assert one.call("POST", "/v1.0/actors/T/1/method/m").status == 200
        operations = [{"operation": "upsert", "request": {"key": "k", "value": [1]}}]
        assert one.call("POST", "/v1.0/actors/T/1/state", operations).status == 204
        assert one.call("GET", "/v1.0/actors/T/1/state/k").body == b"[1]"
        assert one.call("POST", "/v1.0/actors/T/9/state", operations).status == 400
        body = {"dueTime": "100ms", "period": "200ms", "callback": "c"}
        assert one.call("POST", "/v1.0/actors/T/1/timers/t", body).status == 204
        wait(lambda: one.fired("timer")["1/t"] >= 3)
