"""``dapr invoke`` and ``dapr publish`` on a running app."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from harness.cli import UP, Dapr, app_command
from harness.programs import Program, free_port

ROUTES: dict[str, Any] = {
    "POST /echo": {"status": 200, "json": {"ok": True}},
    "GET /empty": {"status": 204},
    "DELETE /gone": {"status": 410, "body": "long gone"},
    "GET /dapr/subscribe": {
        "status": 200,
        "json": [
            {"pubsubname": "pubsub", "topic": "orders", "route": "/orders"},
            {"pubsubname": "pubsub", "topic": "events", "route": "/events"},
        ],
    },
    "POST /orders": {"status": 200, "json": {"status": "SUCCESS"}},
    "POST /events": {"status": 200, "json": {"status": "SUCCESS"}},
}


@pytest.fixture(scope="module")
def dapr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dapr]:
    cli = Dapr(tmp_path_factory.mktemp("runtime"))
    cli.init()
    yield cli
    cli.assert_nothing_left()


@pytest.fixture(scope="module")
def app_id() -> str:
    return f"app-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def app(dapr: Dapr, app_id: str) -> Iterator[Program]:
    flags = ["--app-id", app_id, "--app-port", str(free_port())]
    with dapr.run(*flags, command=app_command(ROUTES)) as run:
        run.wait_line("dapr initialized. Status: Running")
        run.wait_line(UP)
        yield run


def seen(app: Program, path: str) -> dict[str, Any]:
    line = app.wait_line(lambda line: line.startswith("{") and json.loads(line)["path"] == path)
    report: dict[str, Any] = json.loads(line)
    return report


def test_invoke(dapr: Dapr, app: Program, app_id: str) -> None:
    done = dapr("invoke", "--app-id", app_id, "--method", "echo?a=1%2F2&b=c d", "--data", '{"x":1}')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"ok": true}\n✅  App invoked successfully\n'
    report = seen(app, "/echo")
    assert (report["body"], report["headers"]["content-type"]) == ('{"x":1}', "application/json")
    assert report["query"].replace("+", "%20") == "a=1%2F2&b=c%20d"


def test_invoke_with_a_verb_and_no_body(dapr: Dapr, app: Program, app_id: str) -> None:
    done = dapr("invoke", "-a", app_id, "-m", "empty", "-v", "get")
    assert (done.returncode, done.stdout) == (0, "✅  App invoked successfully\n")
    assert seen(app, "/empty")["method"] == "GET"


def test_invoke_that_fails(dapr: Dapr, app: Program, app_id: str) -> None:
    done = dapr("invoke", "-a", app_id, "-m", "gone", "-v", "DELETE")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"❌  error invoking app {app_id}: 410 Gone",
        "ℹ️  long gone",  # noqa: RUF001
    ]


def test_publish(dapr: Dapr, app: Program, app_id: str) -> None:
    where = ["-i", app_id, "-p", "pubsub", "-t", "orders"]
    done = dapr("publish", *where, "-d", '{"order":7}', "-m", '{"rawPayload":"false"}')
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "✅  Event published successfully\n",
        "",
    )
    event = json.loads(seen(app, "/orders")["body"])
    assert (event["data"], event["topic"], event["source"]) == ({"order": 7}, "orders", app_id)


def test_publish_of_a_cloud_event_from_standard_input(
    dapr: Dapr, app: Program, app_id: str
) -> None:
    event = {"specversion": "1.0", "id": "mine", "source": "s", "type": "t", "data": 1}
    where = ["--publish-app-id", app_id, "--pubsub", "pubsub", "--topic", "events"]
    done = dapr("publish", *where, "--data-file", "-", stdin=json.dumps(event))
    assert (done.returncode, done.stderr) == (0, "")
    received = json.loads(seen(app, "/events")["body"])
    assert {key: received[key] for key in event} == event


def test_publish_that_fails(dapr: Dapr, app: Program, app_id: str) -> None:
    done = dapr("publish", "-i", app_id, "-p", "nope", "-t", "orders", "-d", "1")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first == "❌  error publishing topic orders: 404 Not Found"
    assert "pubsub nope is not found" in second
    where = ["-i", app_id, "-p", "pubsub", "-t", "orders"]
    done = dapr("publish", *where, "-m", "[1]")
    assert (done.returncode, "--metadata must be a JSON object" in done.stderr) == (255, True)
    done = dapr("publish", *where, "-f", "absent.json")
    assert done.returncode == 1
    assert "❌  the data file absent.json cannot be read: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["invoke", "-a", "nobody", "-m", "x"], "error invoking app nobody"),
        (["publish", "-i", "nobody", "-p", "p", "-t", "t"], "error publishing topic t"),
    ],
)
def test_an_app_that_does_not_run(arguments: list[str], message: str, dapr: Dapr) -> None:
    done = dapr(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"❌  {message}: couldn't find app id nobody"
