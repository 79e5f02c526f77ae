"""The official Python SDK: a client, and a gRPC application, beside real sidecars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.app import AppProcess, RecordingApp
from harness.programs import Program
from harness.sdk_environments import python_environment
from harness.sidecar import Manifest, Sidecar

pytestmark = pytest.mark.sdk

HERE = Path(__file__).with_name("python")
HTTP_ROUTES = {
    "POST /echo": {"body": "from http app", "headers": {"Content-Type": "text/plain"}},
    "PUT /echo": {"status": 201, "json": {"ok": True}, "headers": {"X-From-App": "yes"}},
}


@dataclass(frozen=True)
class World:
    """What the client saw, and the programs it talked to."""

    seen: dict[str, Any]
    app: AppProcess
    http_app: RecordingApp


@pytest.fixture(scope="module")
def python() -> str:
    return str(python_environment(HERE / "requirements.txt"))


@pytest.fixture(scope="module")
def world(python: str, fresh_components: Callable[[], list[Manifest]]) -> Iterator[World]:
    with (
        RecordingApp(HTTP_ROUTES) as http_app,
        AppProcess([python, str(HERE / "grpc_app.py")]) as app,
        Sidecar(app_port=http_app.port) as http_sidecar,
        Sidecar(
            resources=fresh_components(),
            app_port=app.port,
            app_protocol="grpc",
            flags=["--enable-app-health-check", "--app-health-probe-interval=1"],
        ) as sidecar,
    ):
        env = {**sidecar.sdk_environment(), "HTTP_APP_ID": http_sidecar.app_id}
        client = Program([python, str(HERE / "client.py")], env=env)
        with client:
            client.wait_exit(60)
        yield World(json.loads(client.stdout_lines[-1]), app, http_app)


def test_state(world: World) -> None:
    assert world.seen["state"] == {
        "json": {"a": 1},
        "has_etag": True,
        "binary": list(b"\x00\xffraw"),
        "deleted": "",
        "missing": "",
    }


def test_etags_are_enforced_and_mismatches_say_so(world: World) -> None:
    seen = world.seen["state_etag"]
    assert seen["kept"] == "two"
    for call in ("save", "delete"):
        assert seen[call]["code"] == "ABORTED", seen[call]
        assert "etag mismatch" in seen[call]["message"]


def test_bulk_state(world: World) -> None:
    assert world.seen["state_bulk"] == {
        "b1": ["v1", True, ""],
        "b2": ["v2", True, ""],
        "b3": ["", False, ""],
    }


def test_transaction(world: World) -> None:
    assert world.seen["state_transaction"] == ["", "new"]


def test_published_events_reach_the_app_by_rule(world: World) -> None:
    assert world.seen["publish"] == {"failed": []}
    order = world.app.wait_report(route="orders")
    assert (order["type"], json.loads(order["data"])) == ("com.dapr.event.sent", {"id": 1})
    assert order["content_type"] == "application/json"
    rush = world.app.wait_report(route="rush")
    assert (rush["type"], json.loads(rush["data"])["id"]) == ("order.rush", 2)


def test_raw_payload_reaches_the_app_as_it_was(world: World) -> None:
    assert world.app.wait_report(route="raw")["data"] == "\x01\x02"


def test_bulk_published_events_arrive_and_retry_is_redelivered(world: World) -> None:
    for data, attempt in (("b1", 1), ("b2", 1), ("b3", 1), ("b2", 2)):
        assert world.app.wait_report(route="bulk", data=data, attempt=attempt)


def test_streaming_subscription(world: World) -> None:
    seen = world.seen["subscribe_stream"]  # in no certain order
    assert isinstance(seen, list), seen
    origin = ["com.dapr.event.sent", "streamed", "pubsub"]
    assert sorted(seen, key=str) == sorted([[{"n": 1}, *origin], ["text", *origin]], key=str)


def test_dropped_events_of_a_handler_go_to_its_dead_letter_topic(world: World) -> None:
    assert world.seen["subscribe_handler"] == {
        "second": "second",
        "dead": "first",
        "attempts": ["first", "second"],
    }


def test_invoke_over_grpc(world: World) -> None:
    seen = world.seen["invoke_grpc"]
    assert seen["json"] == {"echo": {"x": 1}, "x-seen": ["yes"]}
    assert seen["content_type"] == "application/json"
    assert seen["to_http_app"] == "from http app"
    assert world.http_app.wait_report(method="POST", path="/echo", query="q=1")["body"] == (
        "over grpc"
    )


def test_failed_invocations_over_grpc(world: World) -> None:
    seen = world.seen["invoke_grpc"]
    assert seen["unknown_method"]["code"] == "UNIMPLEMENTED"
    assert seen["http_404"]["code"] == "NOT_FOUND"
    assert seen["unknown_app"]["code"] == "INTERNAL"


def test_invoke_over_http(world: World) -> None:
    assert world.seen["invoke_http"] == {
        "json": {"ok": True},
        "status": 201,
        "content_type": "application/json",
        "header": ["yes"],
        "missing": ["DaprHttpError", 404],
    }
    request = world.http_app.wait_report(method="PUT", path="/echo")
    assert (request["query"], request["body"]) == ("a=b+c", '{"y": 2}')
    assert request["headers"]["x-seen"] == "yes"


def test_secrets(world: World) -> None:
    seen = world.seen["secret"]
    assert seen["one"] == {"plain": "sesame"}
    assert seen["nested"] == {"db:password": "s3cret"}
    assert seen["bulk"] == {
        "plain": {"plain": "sesame"},
        "db:password": {"db:password": "s3cret"},
    }
    assert seen["missing"]["code"] == "INTERNAL"
    assert seen["no_store"]["code"] == "INVALID_ARGUMENT"


def test_configuration_changes_are_seen_until_unsubscribed(world: World) -> None:
    assert world.seen["configuration"] == {
        "first": ["red", "1"],
        "everything": ["color"],
        "same_id": True,
        "change": ["blue", "2"],
        "unsubscribed": True,
        "again": False,
    }


def test_lock(world: World) -> None:
    assert world.seen["lock"] == {
        "taken": True,
        "refused": False,
        "unlock": ["lock_belongs_to_others", "success", "lock_does_not_exist"],
    }


def test_output_binding(world: World) -> None:
    assert world.seen["binding"]["text"] == "stored"
    assert world.seen["binding"]["bad"]["code"] == "INTERNAL"


def test_input_binding(world: World) -> None:
    assert world.app.wait_report(route="tick")["data"] == ""


def test_the_app_s_health_is_asked_for(world: World) -> None:
    assert world.app.wait_report(route="health")


def test_metadata(world: World) -> None:
    seen = world.seen["metadata"]
    assert seen["id"].startswith("app-")
    assert seen["extended"]["made-by"] == "python"
    assert ["pubsub", "pubsub.redis", "v1"] in seen["components"]


def test_asyncio_client(world: World) -> None:
    assert world.seen["asyncio_client"] == ["awaited", "event"]


def test_errors_carry_rich_details(world: World) -> None:
    seen = world.seen["errors"]
    publish = seen["publish"]
    assert publish["kind"] == "DaprGrpcError"
    assert (publish["code"], publish["error_code"]) == ("INVALID_ARGUMENT", "DAPR_PUBSUB_NOT_FOUND")
    assert publish["error_info"]["domain"] == "dapr.io"
    assert seen["state"]["error_code"] == "DAPR_STATE_NOT_FOUND"
    assert seen["state_key"]["error_code"] == "DAPR_STATE_ILLEGAL_KEY"
    assert seen["state_key"]["resource_info"]["resource_type"] == "state"
    assert seen["configuration"]["kind"] == "RpcError"


def test_api_token_is_asked_for_and_sent(python: str) -> None:
    with Sidecar(env={"DAPR_API_TOKEN": "right"}) as sidecar:
        for token, status in (("right", "OK"), ("wrong", "UNAUTHENTICATED")):
            env = {**sidecar.sdk_environment(), "DAPR_API_TOKEN": token}
            with Program([python, str(HERE / "with_token.py")], env=env) as client:
                client.wait_exit(60)
            assert client.stdout_lines == [status]


def test_shutdown_ends_the_sidecar(python: str) -> None:
    with Sidecar() as sidecar:
        command = [python, str(HERE / "shutdown.py")]
        with Program(command, env=sidecar.sdk_environment()) as client:
            client.wait_exit(60)
        assert sidecar.wait_exit(30) == 0
