"""Sidecars that another CLI keeps, as the official one does; and ours, as that one handles them."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from harness.cli import UP, Dapr, app_command
from harness.programs import Program, free_port

from dapr_cli.processes import is_alive

ANOTHER = Path(__file__).with_name("another_cli.py")


def official(dapr: Dapr, app_id: str, **metadata: str) -> dict[str, Any]:
    """One sidecar: all words that the official CLI gives daprd, in its order."""
    http = free_port()
    command = [str(dapr.home / ".dapr" / "bin" / "daprd")]
    for name, value in (
        ("config", str(dapr.home / ".dapr" / "config.yaml")),
        ("app-protocol", "http"),
        ("dapr-listen-addresses", "127.0.0.1"),
        ("log-level", "info"),
        ("app-max-concurrency", "-1"),
        ("placement-host-address", "127.0.0.1:9"),
        ("resources-path", str(dapr.home / ".dapr" / "components")),
        ("max-body-size", "4Mi"),
        ("read-buffer-size", "4Ki"),
        ("scheduler-host-address", ""),
        ("app-id", app_id),
        ("app-port", "0"),
        ("dapr-http-port", str(http)),
        ("dapr-grpc-port", str(free_port())),
        ("profile-port", "-1"),
        ("metrics-port", str(free_port())),
        ("dapr-internal-grpc-port", str(free_port())),
    ):
        command += [f"--{name}", value]
    return {"command": command, "port": http, "metadata": metadata}


def cli(*sidecars: dict[str, Any]) -> Program:
    return Program([sys.executable, str(ANOTHER), json.dumps(sidecars)], name="another CLI")


def test_its_sidecar_is_listed_called_and_stopped(dapr: Dapr, app_id: str) -> None:
    words = {"appCommand": "node app.js --an-argument", "appPID": "4711"}
    sidecar = official(dapr, app_id, **words)
    with cli(sidecar) as other:
        other.wait_line("up")
        (listed,) = dapr.listed(app_id)
        assert {key: listed[key] for key in ("httpPort", "cliPid", "appPid", "command")} == {
            "httpPort": sidecar["port"],
            "cliPid": other.process.pid,
            "appPid": 4711,
            "command": words["appCommand"],
        }
        assert "node app.js --an-..." in dapr("list").stdout
        done = dapr("publish", "-i", app_id, "-p", "pubsub", "-t", "orders", "-d", "1")
        assert (done.returncode, done.stdout) == (0, "✅  Event published successfully\n")
        done = dapr("stop", app_id)
        assert (done.returncode, done.stdout) == (0, f"✅  app stopped successfully: {app_id}\n")
        assert other.wait_exit() == 0, "the CLI was told, not its sidecar"
        assert not is_alive(listed["daprdPid"])


def test_one_of_several_of_a_cli(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    with cli(official(dapr, one), official(dapr, two)) as other:
        other.wait_line("up")
        done = dapr("stop", "-a", one)
        assert (done.stdout, done.stderr) == (f"✅  app stopped successfully: {one}\n", "")
        assert dapr.listed(one) == []
        assert len(dapr.listed(two)) == 1
        assert is_alive(other.process.pid)


def test_its_run_file(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    file = dapr.home / "dapr.yaml"
    file.write_text("version: 1\napps: []\n")
    template = {"runTemplatePath": str(file), "runTemplateName": "shop"}
    with cli(official(dapr, one, **template), official(dapr, two, **template)) as other:
        other.wait_line("up")
        done = dapr("list")
        head, *rows = done.stdout.splitlines()
        column = head.index("RUN TEMPLATE PATH")
        (row,) = [line for line in rows if line.startswith(f"{one} ")]
        assert row[column:].startswith(str(file))
        assert row[head.index("RUNTEMPLATENAME") :] == "shop"
        done = dapr("stop", "-f", str(file))
        assert (done.stdout, done.stderr) == (f"✅  apps stopped successfully: {one}, {two}\n", "")
        assert other.wait_exit() == 0
    assert [*dapr.listed(one), *dapr.listed(two)] == []


def test_a_pid_of_a_cli_that_is_not_its_parent_is_not_signalled(dapr: Dapr, app_id: str) -> None:
    """What a sidecar says of itself may be old, and the pid somebody else's by now."""
    with (
        Program(["sleep", "600"], exit_code=None) as bystander,
        cli(official(dapr, app_id, cliPID=str(bystander.process.pid))) as other,
    ):
        other.wait_line("up")
        (listed,) = dapr.listed(app_id)
        assert listed["cliPid"] == bystander.process.pid
        assert dapr("stop", app_id).stdout == f"✅  app stopped successfully: {app_id}\n"
        assert is_alive(bystander.process.pid)
        assert not is_alive(listed["daprdPid"])


def test_the_official_stop_of_a_run_file_ends_ours(dapr: Dapr, app_id: str) -> None:
    """It sends SIGTERM to the process group of the CLI that a sidecar names."""
    file = dapr.home / "dapr.yaml"
    (dapr.home / "a").mkdir()
    app = {"appID": app_id, "appDirPath": "a", "command": app_command(), "appPort": free_port()}
    file.write_text(json.dumps({"version": 1, "apps": [app]}))
    with dapr.run("-f", str(file)) as run:
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        assert listed["runTemplatePath"] == str(file)
        os.killpg(os.getpgid(listed["cliPid"]), signal.SIGTERM)
        assert run.wait_exit() == 0
    assert not is_alive(listed["appPid"])
