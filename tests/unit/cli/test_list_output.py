"""``dapr list`` letter by letter: from command lines and metadata to table, JSON and YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from harness.stand_in_server import Answered, Asked, serving

from dapr_cli.processes import Process

Listing = Callable[..., None]
RUN_BY_A_FILE = {
    "appCommand": "python app.py --with --many --arguments",
    "appPID": "103",
    "cliPID": "101",
    "runTemplatePath": "/shop/dapr.yaml",
    "runTemplateName": "shop",
    "appLogPath": "/shop/app.log",
    "daprdLogPath": "/shop/daprd.log",
}


@pytest.fixture
def started() -> datetime:
    return datetime.now(UTC) - timedelta(hours=3, minutes=5)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, started: datetime) -> Listing:
    """Makes ``daprd`` processes with these words after their names."""

    def make(*commands: str) -> None:
        found = [
            Process(200 + number, 101, ("/bin/daprd", *words.split()), started)
            for number, words in enumerate(commands)
        ]
        monkeypatch.setattr("dapr_cli.instances.daprd_processes", lambda: found)

    return make


def metadata(app_id: str, extended: dict[str, str]) -> Callable[[Asked], Answered]:
    def answer(asked: Asked) -> Answered:
        assert (asked.method, asked.path) == ("GET", "/v1.0/metadata")
        return Answered(200, {"id": app_id, "extended": extended})

    return answer


def dotted(table: str, started: datetime) -> str:
    shown = started.astimezone().strftime("%Y-%m-%d %H:%M.%S")
    return table.replace(shown, "." * len(shown))


def test_a_table_without_what_nobody_has(dapr, running: Listing, started: datetime) -> None:
    running(
        "--app-id bare --dapr-http-port=9 --dapr-grpc-port=50001",
        "--app-id=another --dapr-http-port 9 --dapr-grpc-port 50002 --app-port 8000",
        "--dapr-http-port 9",  # without an id: no instance
    )
    outcome = dapr("list")
    assert (outcome.code, outcome.err) == (0, "")
    assert dotted(outcome.out, started) == (
        "APP ID   HTTP PORT  GRPC PORT  APP PORT  AGE  CREATED              DAPRD PID  CLI PID  "
        "APP PID\n"
        "bare     9          50001      0         3h   ...................  200        0        0\n"
        "another  9          50002      8000      3h   ...................  201        0        0\n"
    )


def test_a_table_with_everything(dapr, running: Listing, started: datetime) -> None:
    with serving(metadata("orders", RUN_BY_A_FILE)) as url:
        port = int(url.rpartition(":")[2])
        running(f"--app-id orders --dapr-http-port {port:05} --dapr-grpc-port 50001")
        outcome = dapr("list", "-o", "table")
    head, row = dotted(outcome.out, started).splitlines()
    assert re.split(" {2,}", head) == [
        *("APP ID", "HTTP PORT", "GRPC PORT", "APP PORT", "COMMAND", "AGE", "CREATED"),
        *("DAPRD PID", "CLI PID", "APP PID", "RUN TEMPLATE PATH", "APP LOG PATH"),
        *("DAPRD LOG PATH", "RUNTEMPLATENAME"),
    ]
    assert re.split(" {2,}", row) == [
        *("orders", str(port), "50001", "0", "python app.py --w...", "3h", "." * 19),
        *("200", "101", "103", "/shop/dapr.yaml", "/shop/app.log", "/shop/daprd.log", "shop"),
    ]


def test_for_programs(dapr, running: Listing, started: datetime) -> None:
    with serving(metadata("orders", RUN_BY_A_FILE)) as url:
        port = int(url.rpartition(":")[2])
        running(f"--app-id orders --dapr-http-port {port} --dapr-grpc-port 50001 --app-port 80")
        in_json, in_yaml = dapr("list", "-o", "json"), dapr("list", "-o", "yaml")
    expected: dict[str, Any] = {
        "appId": "orders",
        "httpPort": port,
        "grpcPort": 50001,
        "appPort": 80,
        "metricsEnabled": True,
        "command": RUN_BY_A_FILE["appCommand"],
        "age": "3h",
        "created": started.astimezone().strftime("%Y-%m-%d %H:%M.%S"),
        "daprdPid": 200,
        "cliPid": 101,
        "appPid": 103,
        "maxRequestBodySize": 4 << 20,
        "httpReadBufferSize": 4 << 10,
        "runTemplatePath": "/shop/dapr.yaml",
        "appLogPath": "/shop/app.log",
        "daprdLogPath": "/shop/daprd.log",
        "runTemplateName": "shop",
    }
    assert in_json.out == json.dumps([expected], indent=2), "in this order, no newline at the end"
    lines = in_yaml.out.splitlines()
    assert [line[2:].partition(":")[0] for line in lines] == list(expected)
    assert lines[0] == "- appId: orders"
    assert lines[3] == "  appPort: 80"
    assert lines[5] == f"  command: {expected['command']}"
    assert (in_json.err, in_yaml.err) == ("", "")


def test_what_another_sidecar_on_the_port_says_does_not_count(dapr, running: Listing) -> None:
    with serving(metadata("somebody-else", RUN_BY_A_FILE)) as url:
        running(f"--app-id orders --dapr-http-port {url.rpartition(':')[2]}")
        (listed,) = json.loads(dapr("list", "-o", "json").out)
    assert (listed["cliPid"], listed["command"], listed["runTemplatePath"]) == (0, "", "")
