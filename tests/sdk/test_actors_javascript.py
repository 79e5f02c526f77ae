"""Virtual actors of the official JavaScript SDK, called by its proxies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.placement_process import Placement
from harness.programs import Program
from harness.redis_server import RedisServer
from harness.sdk_environments import node_modules
from sdk.actor_worlds import Host, World, actor_store, caller, sdk_host, until

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("javascript")


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    return {"NODE_PATH": str(node_modules(HERE / "package.json"))}


@pytest.fixture(scope="module")
def world(modules: dict[str, str], redis: RedisServer) -> Iterator[World]:
    redis.call("FLUSHALL")
    command = ["node", str(HERE / "actors_app.cjs")]
    with (
        Placement() as placement,
        sdk_host(command, placement, actor_store(redis), env=modules) as host,
        caller(placement) as sidecar,
    ):
        client = ["node", str(HERE / "actors_client.cjs")]
        with Program(client, env={**modules, **sidecar.sdk_environment()}) as program:
            program.wait_exit(90)
        yield World("http", host, json.loads(program.stdout_lines[-1]))


def test_proxies_reach_actors_behind_another_sidecar(world: World) -> None:
    assert world.seen["proxies"] == {
        "where": "one",
        "echo": {"echo": {"n": [1, "é", None]}, "id": "an id@with spaces"},
    }


def test_arguments_of_proxies_over_grpc_are_read(world: World) -> None:
    """They come without a content type, and the SDK's own host reads none of what is not JSON."""
    assert world.seen["grpc"] == {"echo": {"n": [1, "é", None]}, "id": "over gRPC"}


def test_the_state_manager_s_state_is_in_the_store(world: World) -> None:
    seen = world.seen["state"]
    assert seen["a"] == {"found": True, "value": {"deep": [1, 2]}}
    assert seen["missing"] == {"found": False, "value": None}
    assert (seen["removed"], seen["b"]["found"]) == ({"removed": True}, False)
    assert world.host.actors("Ledger/state/state/a").json == {"deep": [1, 2]}
    assert world.host.actors("Ledger/state/state/b").status == 204


def test_actors_call_each_other(world: World) -> None:
    assert world.seen["chain"] == {
        "through": "first",
        "got": {"echo": "from an actor", "id": "second"},
    }


def test_errors_of_the_application_as_its_caller_sees_them(world: World) -> None:
    assert "error from actor service: (500)" in world.seen["error"]["raised"]
    assert world.seen["works"] == {"echo": 1, "id": "errors"}


def test_timers_fire_with_their_data_and_stop(world: World) -> None:
    assert world.seen["timers"] is None
    assert world.host.wait(event="timer", actor="timers", data="timed")
    world.host.wait(event="timer stopped", actor="counting")
    assert counts(world.host, "timer", "counting") == [1, 2, 3]


def test_reminders_fire_with_their_data_and_stop(world: World) -> None:
    assert world.seen["reminders"] is None
    assert world.host.wait(event="reminder", actor="reminders", data="reminded")
    world.host.wait(event="reminder stopped", actor="periodic")
    assert counts(world.host, "reminder", "periodic") == [1, 2, 3]
    assert world.host.actors("Ledger/periodic/reminders/periodic").status == 404


def test_reminders_are_kept_and_forgotten(world: World) -> None:
    later = world.host.actors("Ledger/reminders/reminders/later")
    assert (later.status, later.json["data"]) == (200, "kept")
    assert world.host.actors("Ledger/reminders/reminders/gone").status == 404
    until(
        lambda: world.host.actors("Ledger/reminders/reminders/once").status == 404,
        "a reminder that has fired for the last time is not stored any more",
    )


def test_idle_actors_are_told_that_they_go(modules: dict[str, str], redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    command = ["node", str(HERE / "actors_app.cjs")]
    env = {**modules, "IDLE": "1s"}
    with (
        Placement() as placement,
        sdk_host(command, placement, actor_store(redis), env=env) as host,
        caller(placement) as sidecar,
        Program(
            ["node", str(HERE / "actors_client.cjs")],
            env={**modules, **sidecar.sdk_environment()},
        ) as client,
    ):
        client.wait_exit(90)
        host.wait(event="deactivate", actor="state")
        host.wait(event="deactivate", actor="an id@with spaces")


def counts(host: Host, event: str, actor: str) -> list[Any]:
    found = [one for one in host.app.reports() if one["event"] == event]
    return [one["count"] for one in found if one["actor"] == actor]
