"""Virtual actors of the official Go SDK, called by its proxies.

The SDK has no reentrancy: its host does not advertise it and its proxies hand no id on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.http_call import call
from harness.placement_process import Placement
from harness.programs import Program
from harness.redis_server import RedisServer
from harness.sdk_environments import go_program
from sdk.actor_worlds import SECONDS, Host, World, actor_store, caller, sdk_host, until

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("go")


@pytest.fixture(scope="module")
def program() -> str:
    return str(go_program(HERE))


@pytest.fixture(scope="module")
def world(program: str, redis: RedisServer) -> Iterator[World]:
    redis.call("FLUSHALL")
    with (
        Placement() as placement,
        sdk_host([program, "actors"], placement, actor_store(redis)) as host,
        caller(placement) as sidecar,
        Program([program, "actors-client"], env=sidecar.sdk_environment()) as client,
    ):
        client.wait_exit(90)
        yield World("http", host, json.loads(client.stdout_lines[-1]))


def test_proxies_reach_actors_behind_another_sidecar(world: World) -> None:
    assert world.seen["proxies"] == {
        "where": "one",
        "echo": {"id": "an id@with spaces", "value": [1, "é", None]},
    }
    assert json.loads(world.seen["api"]) == "one"


def test_the_state_manager_s_state_is_in_the_store(world: World) -> None:
    seen = world.seen["state"]
    assert seen["a"] == {"key": "a", "found": True, "value": {"deep": [1, 2]}}
    assert (seen["missing"]["found"], seen["b"]["found"]) == (False, False)
    assert world.host.actors("Ledger/state/state/a").json == {"deep": [1, 2]}
    assert world.host.actors("Ledger/state/state/b").status == 204


def test_one_turn_at_a_time(world: World) -> None:
    assert world.seen["turns"] == {"most": 1, "failures": []}
    assert world.host.actors("Ledger/turns/state/sum").json == 20


def test_errors_of_the_application_as_its_caller_sees_them(world: World) -> None:
    """The SDK's host says no more than that something went wrong, of unknown methods, too."""
    seen = world.seen["errors"]
    for each in ("raised", "method"):
        assert seen[each]["code"] == "Internal"
        assert seen[each]["message"].endswith(
            "error invoke actor method: error from actor service: (500) "
        )
    assert seen["works"] == "one"


def test_nobody_hosts_the_type(world: World) -> None:
    assert "did not find address for actor 'Nobody/1'" in world.seen["errors"]["type"]["message"]


def test_timers_fire_with_their_data_and_stop(world: World) -> None:
    assert world.seen["timers"] is None
    assert world.host.wait(event="timer", actor="timers", data="timed")
    world.host.wait(event="timer stopped", actor="counting")
    assert counts(world.host, "timer", "counting") == [1, 2, 3]


def test_reminders_fire_with_their_data_as_often_as_they_should(world: World) -> None:
    assert world.seen["reminders"] is None
    assert world.host.wait(event="reminder", actor="reminders", name="once", data="reminded")
    world.host.wait(3, event="reminder", actor="periodic")
    until(lambda: reminder(world, "periodic", "periodic") == 404, "it ran for the last time")
    assert counts(world.host, "reminder", "periodic") == [1, 2, 3]


def test_reminders_are_kept_and_forgotten(world: World) -> None:
    later = world.host.actors("Ledger/reminders/reminders/later")
    assert (later.status, later.json["data"]) == (200, "a2VwdA==")
    assert reminder(world, "reminders", "gone") == 404
    until(lambda: reminder(world, "reminders", "once") == 404, "it has fired for the last time")


def test_reminders_and_state_survive_their_host(program: str, redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    command = [program, "actors"]
    store = actor_store(redis)
    with Placement() as placement:
        with sdk_host(command, placement, store, app_id="go", name="before") as host:
            put = host.sidecar.http_port, "Put", {"key": "k", "value": 7}
            assert call_ledger(*put) == 200
            remind = {"name": "on", "due": "0s", "period": "500ms", "data": "kept"}
            assert call_ledger(host.sidecar.http_port, "StartReminder", remind) == 200
            host.wait(event="reminder", name="on", data="kept")
        with sdk_host(command, placement, store, app_id="go", name="after") as host:
            host.wait(event="reminder", name="on", data="kept")
            assert host.actors("Ledger/1/state/k").json == 7


def call_ledger(port: int, method: str, body: dict[str, Any]) -> int:
    path = f"/v1.0/actors/Ledger/1/method/{method}"
    return call(port, "PUT", path, body, timeout=SECONDS).status


def reminder(world: World, actor: str, name: str) -> int:
    """The status of a look at it."""
    return world.host.actors(f"Ledger/{actor}/reminders/{name}").status


def counts(host: Host, event: str, actor: str) -> list[Any]:
    found = [one for one in host.app.reports() if one["event"] == event]
    return [one["count"] for one in found if one["actor"] == actor]
