"""Virtual actors of the official Python SDK, hosted over FastAPI, Flask and its gRPC stream.

The client is another process behind another sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.placement_process import Placement
from harness.programs import Program
from harness.redis_server import RedisServer
from harness.sdk_environments import python_environment
from harness.sidecar import Sidecar
from sdk.actor_worlds import SECONDS, World, actor_store, caller, sdk_host, until

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("python")


@pytest.fixture(scope="module")
def python() -> str:
    return str(python_environment(HERE / "requirements.txt"))


@pytest.fixture
def placement() -> Iterator[Placement]:
    """One without the other hosts of the same types."""
    with Placement() as running:
        yield running


@pytest.fixture(scope="module", params=["fastapi", "flask", "grpc"])
def world(request: pytest.FixtureRequest, python: str, redis: RedisServer) -> Iterator[World]:
    kind: str = request.param
    redis.call("FLUSHALL")
    command = [python, str(HERE / "actors_app.py"), kind]
    protocol = "grpc" if kind == "grpc" else "http"
    with (
        Placement() as placement,
        sdk_host(command, placement, actor_store(redis), protocol=protocol) as host,
        caller(placement) as sidecar,
        Program([python, str(HERE / "actors_client.py")], env=sidecar.sdk_environment()) as client,
    ):
        client.wait_exit(120)
        yield World(kind, host, json.loads(client.stdout_lines[-1]))


def test_proxies_reach_actors_behind_another_sidecar(world: World) -> None:
    assert world.seen["proxies"] == {
        "where": "one",
        "value": {"echo": {"n": [1, "é", None]}, "id": "proxies"},
        "raw": '{"echo":"raw","id":"an id@with spaces"}',
    }
    assert world.host.wait(event="activate", actor="an id@with spaces")


def test_the_state_manager_s_state_is_in_the_store(world: World) -> None:
    seen = world.seen["state"]
    assert seen["names"] == ["a"]
    assert seen["a"] == {"found": True, "value": {"deep": [1, 2]}}
    assert seen["missing"] == {"found": False, "value": None}
    assert seen["born"] == {"found": True, "value": "one"}, "set while it came into being"
    assert world.host.actors("Ledger/state/state/a").json == {"deep": [1, 2]}


def test_removed_state_is_gone(world: World) -> None:
    seen = world.seen["state"]
    assert (seen["removed"], seen["b"]["found"]) == ([True, False], False)
    assert world.host.actors("Ledger/state/state/b").status == 204


def test_state_with_a_time_to_live(world: World) -> None:
    until(lambda: world.host.actors("Ledger/state/state/short").status == 204, "it is gone")
    assert world.host.actors("Ledger/state/state/long").json == 2


def test_one_turn_at_a_time(world: World) -> None:
    assert world.seen["turns"] == {"together": 1, "sum": {"found": True, "value": 21}}


def error_text(world: World, error: dict[str, Any]) -> str:
    """An error of the application: over its gRPC stream the SDK makes it an answer."""
    if world.kind == "grpc":
        return str(error["message"])
    assert (error["raised"], error["code"]) == ("DaprHttpError", "ERR_ACTOR_INVOKE_METHOD")
    return str(error["text"])


def test_errors_of_the_application_as_its_caller_sees_them(world: World) -> None:
    seen = world.seen["errors"]
    assert "ValueError('out of ink')" in error_text(world, seen["raised"])
    assert seen["method"]["code"] == "ERR_ACTOR_INVOKE_METHOD"
    assert "Nope" in seen["method"]["text"]
    assert seen["works"] == {"echo": 1, "id": "errors"}


def test_nobody_hosts_the_type(world: World) -> None:
    seen = world.seen["unknown_type"]
    assert seen["code"] == "ERR_ACTOR_INVOKE_METHOD"
    assert "did not find address for actor 'Nobody/1'" in seen["text"]


def test_reentrancy(world: World) -> None:
    seen = world.seen["reentrancy"]
    assert seen["route"] == ["A", "B", "A", "B"]
    assert seen["visited"] == [2, 2]


def test_calls_that_go_too_deep(world: World) -> None:
    error = world.seen["reentrancy"]["too_deep"]
    assert "maximum stack depth exceeded" in error_text(world, error)


def test_timers_fire_with_their_data(world: World) -> None:
    assert world.seen["timers"] is None
    assert world.host.wait(event="timer", actor="timers", data={"t": 1})
    assert world.host.wait(event="timer", actor="timers", data=None)


def test_a_timer_is_stopped_by_its_actor(world: World) -> None:
    world.host.wait(event="timer stopped", actor="counting")
    fired = [one for one in world.host.app.reports() if one.get("actor") == "counting"]
    assert [one["count"] for one in fired if one["event"] == "timer"] == [1, 2, 3]


def test_reminders_fire_with_their_data(world: World) -> None:
    assert world.seen["reminders"] is None
    assert world.host.wait(event="reminder", actor="reminders", name="once", data="\x00\xffbytes")
    assert world.host.wait(event="reminder", actor="reminders", name="empty", data="")


def test_reminders_are_kept_and_forgotten(world: World) -> None:
    later = world.host.actors("Ledger/reminders/reminders/later")
    assert (later.status, later.json["data"]) == (200, "a2VwdA==")
    assert world.host.actors("Ledger/reminders/reminders/gone").status == 404
    world.host.wait(event="reminder", name="once")
    until(
        lambda: world.host.actors("Ledger/reminders/reminders/once").status == 404,
        "a reminder that has fired for the last time is not stored any more",
    )


def test_a_reminder_is_stopped_by_its_actor(world: World) -> None:
    world.host.wait(event="reminder stopped")
    assert world.host.actors("Ledger/counted%20reminders/reminders/stops").status == 404
    fired = [one for one in world.host.app.reports() if one.get("name") == "stops"]
    assert [one["count"] for one in fired] == [1, 2]


def test_failure_policies_of_reminders(world: World) -> None:
    world.host.wait(2, event="reminder", name="fails-again")
    for name in ("fails-drop", "fails-again"):
        path = f"Ledger/{name}/reminders/{name}"
        until(lambda path=path: world.host.actors(path).status == 404, "given up")  # type: ignore[misc]
    fired = [one["name"] for one in world.host.app.reports() if one["event"] == "reminder"]
    assert (fired.count("fails-drop"), fired.count("fails-again")) == (1, 2)


def test_idle_actors_are_told_that_they_go(world: World) -> None:
    assert world.seen["idle"] == "awake"
    assert world.host.wait(event="deactivate", actor="1")


def calls(python: str, sidecar: Sidecar, *arguments: str) -> Any:
    """What ``actors_call.py`` prints."""
    command = [python, str(HERE / "actors_call.py"), *arguments]
    with Program(command, env=sidecar.sdk_environment()) as program:
        program.wait_exit(SECONDS)
    return json.loads(program.stdout_lines[-1])


@pytest.mark.parametrize("kind", ["fastapi", "grpc"])
def test_reminders_and_state_survive_their_host(
    kind: str, python: str, placement: Placement, redis: RedisServer
) -> None:
    redis.call("FLUSHALL")
    command = [python, str(HERE / "actors_app.py"), kind]
    protocol = "grpc" if kind == "grpc" else "http"
    start = partial(
        sdk_host, command, placement, actor_store(redis), app_id="survivors", protocol=protocol
    )
    with start(name="before") as host:
        remind = {"name": "goes on", "due": 0, "period": 0.5, "data": "kept"}
        calls(python, host.sidecar, "Ledger", "1", "Put", json.dumps({"key": "k", "value": 7}))
        calls(python, host.sidecar, "Ledger", "1", "Remind", json.dumps(remind))
        host.wait(event="reminder", name="goes on")
    assert {"event": "deactivate", "actor": "1"} in host.app.reports(), "told before the end"
    with start(name="after") as host:
        [fired] = host.wait(event="reminder", name="goes on")
        assert (fired["data"], fired["count"]) == ("kept", 1)
        assert calls(python, host.sidecar, "Ledger", "1", "Get", '"k"')["value"] == 7
        assert calls(python, host.sidecar, "Ledger", "1", "Get", '"born"')["value"] == "before"
        calls(python, host.sidecar, "Ledger", "1", "Forget", '"goes on"')
        assert host.actors("Ledger/1/reminders/goes%20on").status == 404


def test_a_second_host_takes_its_share_and_gives_it_back(
    python: str, placement: Placement, redis: RedisServer
) -> None:
    redis.call("FLUSHALL")
    command = [python, str(HERE / "actors_app.py"), "fastapi"]
    start = partial(sdk_host, command, placement, actor_store(redis), app_id="sharing")
    ids = [f"shared-{number}" for number in range(40)]  # by chance all might be one host's
    with start(name="first") as first, caller(placement) as sidecar:
        where = partial(calls, python, sidecar, "Ledger", ",".join(ids), "Where")
        assert where() == ["first"] * len(ids)
        with start(name="second") as second:
            there = where()
            assert set(there) == {"first", "second"}
            for actor, host in zip(ids, there, strict=True):
                if host == "second":
                    first.wait(event="deactivate", actor=actor)
                    second.wait(event="activate", actor=actor)
                else:
                    assert {"event": "deactivate", "actor": actor} not in first.app.reports()
        assert where() == ["first"] * len(ids)
