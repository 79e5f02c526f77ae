"""The official Go SDK: its client, and its services over gRPC and HTTP, on one sidecar each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.app import AppProcess
from harness.programs import Program
from harness.sdk_environments import go_program
from harness.sidecar import Manifest, Sidecar

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("go")


@dataclass(frozen=True)
class World:
    """What the client saw, and the service beside its sidecar."""

    protocol: str
    seen: dict[str, Any]
    app: AppProcess


@pytest.fixture(scope="module", params=["grpc", "http"])
def world(
    request: pytest.FixtureRequest, fresh_components: Callable[[], list[Manifest]]
) -> Iterator[World]:
    protocol: str = request.param
    program = str(go_program(HERE))
    with (
        AppProcess([program, protocol]) as app,
        Sidecar(resources=fresh_components(), app_port=app.port, app_protocol=protocol) as sidecar,
        Program([program, "client"], env=sidecar.sdk_environment()) as client,
    ):
        client.wait_exit(60)
        yield World(protocol, json.loads(client.stdout_lines[-1]), app)


def test_state(world: World) -> None:
    seen = world.seen["state"]
    assert seen["value"] == '{"a":1}'
    assert seen["saved"]["code"] == "OK"
    assert seen["stale"]["code"] == "Aborted"
    assert "etag mismatch" in seen["stale"]["message"]
    assert (seen["kept"], seen["gone"]) == ("2", "")


def test_errors_carry_rich_details(world: World) -> None:
    error = world.seen["state"]["no_store"]
    assert error["code"] == "InvalidArgument"
    assert error["reason"] == "DAPR_STATE_NOT_FOUND"
    assert error["details"] == ["*errdetails.ErrorInfo"]


def test_bulk_state_and_transaction(world: World) -> None:
    assert world.seen["bulk"] == {"b1": "v1", "b2": "v2", "b3": ""}
    assert world.seen["transaction"] == ["t", ""]


def test_published_events_reach_the_service_by_rule(world: World) -> None:
    seen = world.seen["publish"]
    assert (seen["failed"], seen["bulk"]["code"]) == (0, "OK")
    assert seen["no_pubsub"]["code"] == "InvalidArgument"
    order = world.app.wait_report(route="orders")
    assert json.loads(order["data"]) == {"id": 1}
    assert (order["type"], order["topic"], order["pubsub"]) == (
        "com.dapr.event.sent",
        "orders",
        "pubsub",
    )
    assert world.app.wait_report(route="rush")["type"] == "order.rush"


def test_streaming_subscriptions(world: World) -> None:
    received = world.seen["subscribe"]
    assert sorted(received[:2]) == ["one", "two"]
    assert received[2] == "three"


def test_invoke(world: World) -> None:
    assert world.seen["invoke"]["answer"] == "echo hello"
    assert world.seen["invoke"]["unknown"]["code"] == "Internal"
    call = world.app.wait_report(route="echo")
    assert (call["verb"], call["query"]) == ("POST", "q=1")


def test_secrets(world: World) -> None:
    assert world.seen["secret"]["one"] == {"plain": "sesame"}
    assert world.seen["secret"]["bulk"]["db:password"] == {"db:password": "s3cret"}


def test_configuration(world: World) -> None:
    assert world.seen["configuration"] == {"first": "red", "change": "blue 2"}


def test_lock(world: World) -> None:
    assert world.seen["lock"] == {"taken": True, "freed": "SUCCESS"}


def test_bindings(world: World) -> None:
    assert world.seen["binding"] == "blue||2"
    assert world.app.wait_report(route="tick")


def test_metadata(world: World) -> None:
    seen = world.seen["metadata"]
    assert seen["made_by"] == "go"
    assert "pubsub pubsub.redis" in seen["components"]
    assert "orders" in seen["topics"]
