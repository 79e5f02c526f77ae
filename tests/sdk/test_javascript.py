"""The official JavaScript SDK over HTTP and gRPC: a client and a server on one sidecar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.app import AppProcess
from harness.programs import Program, free_port
from harness.sdk_environments import node_modules
from harness.sidecar import Manifest, Sidecar

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("javascript")


@dataclass(frozen=True)
class World:
    """What the client saw, and the application that uses the same protocol."""

    protocol: str
    seen: dict[str, Any]
    app: AppProcess


@pytest.fixture(scope="module", params=["http", "grpc"])
def world(
    request: pytest.FixtureRequest, fresh_components: Callable[[], list[Manifest]]
) -> Iterator[World]:
    protocol: str = request.param
    modules = {"NODE_PATH": str(node_modules(HERE / "package.json"))}
    port = free_port()
    sidecar = Sidecar(resources=fresh_components(), app_port=port, app_protocol=protocol)
    env = {**modules, **sidecar.sdk_environment()}
    with (
        AppProcess(["node", str(HERE / "server.cjs"), protocol], env=env, port=port) as app,
        sidecar,
    ):
        app.wait_report(route="started")
        with Program(["node", str(HERE / "client.cjs"), protocol], env=env) as client:
            client.wait_exit(60)
        yield World(protocol, json.loads(client.stdout_lines[-1]), app)


def test_state(world: World) -> None:
    seen = world.seen["state"]
    assert seen["one"] == {"a": 1}
    assert seen["bulk"] == {"1": {"a": 1}, "2": "text"}
    assert "etag mismatch" in seen["stale"]
    assert seen["deleted"] == ""


def test_transaction(world: World) -> None:
    assert world.seen["transaction"] == ["new", ""]


def test_published_events_reach_the_app(world: World) -> None:
    assert world.seen["publish"]["failed"] == 0
    assert world.app.wait_report(route="orders", data={"id": 1, "by": world.protocol})
    assert world.app.wait_report(route="orders", data=f"text by {world.protocol}")


def test_bulk_published_events_reach_the_bulk_subscription(world: World) -> None:
    for number in (1, 2):
        assert world.app.wait_report(route="bulk", data={"b": number, "by": world.protocol})


def test_publishing_to_nowhere_says_so(world: World) -> None:
    assert "pubsub nowhere is not found" in world.seen["publish"]["error"]


def test_invoke(world: World) -> None:
    seen = world.seen["invoke"]
    assert seen["post"] == {"echo": {"x": 1}, "type": "application/json"}
    assert seen["get"] == {"hello": "world"}
    assert "no-such-app" in seen["unknown"]


def test_secrets(world: World) -> None:
    seen = world.seen["secret"]
    assert seen["one"] == {"plain": "sesame"}
    assert seen["bulk"]["plain"] == {"plain": "sesame"}
    assert "nope" in seen["missing"]


def test_lock(world: World) -> None:
    assert world.seen["lock"] == [True, False, 0]


def test_output_binding(world: World) -> None:
    assert world.seen["binding"] == f"bound {world.protocol}"


def test_input_binding(world: World) -> None:
    assert world.app.wait_report(route="tick")


def test_configuration(world: World) -> None:
    if world.protocol == "http":
        pytest.skip("the SDK has no configuration over HTTP")
    assert world.seen["configuration"] == {"first": "red", "change": "blue"}


def test_metadata_and_health(world: World) -> None:
    seen = world.seen["metadata"]
    assert seen["madeBy"] == world.protocol
    assert "pubsub" in seen["components"]
    assert world.seen["health"] is True
