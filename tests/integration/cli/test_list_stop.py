"""``dapr list`` and ``dapr stop``: sidecars however they were started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from harness.cli import UP, Dapr
from harness.programs import Program, free_port
from harness.sidecar import Sidecar

from dapr_cli.processes import is_alive


def test_a_sidecar_started_by_hand(dapr: Dapr, app_id: str) -> None:
    flags = ["--max-body-size", "2Mi", "--read-buffer-size=16Ki", "--enable-metrics=false"]
    with Sidecar(app_id, flags=flags) as sidecar:
        (listed,) = dapr.listed(app_id)
        assert {key: listed.pop(key) for key in ("age", "created")}["age"].endswith(("s", "m"))
        assert listed == {
            "appId": app_id,
            "httpPort": sidecar.http_port,
            "grpcPort": sidecar.grpc_port,
            "appPort": 0,
            "metricsEnabled": False,
            "command": "",
            "daprdPid": sidecar.process.pid,
            "cliPid": 0,
            "appPid": 0,
            "maxRequestBodySize": 2 << 20,
            "httpReadBufferSize": 16 << 10,
            "runTemplatePath": "",
            "appLogPath": "",
            "daprdLogPath": "",
            "runTemplateName": "",
        }
        done = dapr("list", "-o", "yaml")
        assert done.returncode == 0
        (same,) = [each for each in yaml.safe_load(done.stdout) if each["appId"] == app_id]
        assert same["daprdPid"] == sidecar.process.pid
        done = dapr("list", "--output", "json")
        assert done.stdout.endswith("}\n]"), "as Go prints it: indented, no newline at the end"
        done = dapr("stop", app_id)
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            f"✅  app stopped successfully: {app_id}\n",
            "",
        )
        assert sidecar.wait_exit() == 0


def test_the_table(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, command=["sleep", "1234567890123456789"]) as run:
        run.wait_line(UP)
        (record,) = dapr.listed(app_id)
        done = dapr("list")
    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    (row,) = [line for line in rows if line.startswith(f"{app_id} ")]
    assert head.startswith("APP ID ")
    for name, value in (
        ("HTTP PORT", str(record["httpPort"])),
        ("GRPC PORT", str(record["grpcPort"])),
        ("APP PORT", "0"),
        ("COMMAND", "sleep 12345678901..."),
        ("CREATED", record["created"]),
        ("DAPRD PID", str(record["daprdPid"])),
        ("CLI PID", str(run.process.pid)),
        ("APP PID", str(record["appPid"])),
    ):
        assert row[head.index(name) :].startswith(value), name


def test_python_running_the_sidecar_is_found(dapr: Dapr, app_id: str) -> None:
    port = free_port()
    flags = ["--app-id", app_id, "--dapr-http-port", str(port), "--dapr-grpc-port=0"]
    flags += ["--metrics-port=0", "--dapr-internal-grpc-port=0"]
    command = [sys.executable, "-m", "dapr_sidecar", *flags]
    with Program(command, env=dapr.env()) as program:
        program.wait_line("dapr initialized. Status: Running")
        (listed,) = dapr.listed(app_id)
        assert (listed["daprdPid"], listed["httpPort"]) == (program.process.pid, port)


def test_a_sidecar_that_does_not_answer_is_listed(dapr: Dapr, app_id: str) -> None:
    with Sidecar(app_id) as sidecar:
        sidecar.signal(signal.SIGSTOP)
        try:
            (listed,) = dapr.listed(app_id)
        finally:
            sidecar.signal(signal.SIGCONT)
        assert (listed["daprdPid"], listed["cliPid"]) == (sidecar.process.pid, 0)


def test_stop_ends_the_app_and_its_sidecar(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, command=["sleep", "60"]) as run:
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        done = dapr("stop", "--app-id", app_id)
        assert (done.returncode, done.stdout, done.stderr) == (
            0,
            f"✅  app stopped successfully: {app_id}\n",
            "",
        )
        assert not is_alive(listed["daprdPid"])
        assert not is_alive(listed["appPid"])
        assert run.wait_exit() == 0


def test_stop_of_several_and_of_what_is_not_there(dapr: Dapr, app_id: str) -> None:
    with (
        dapr.run("-a", f"{app_id}-1") as one,
        dapr.run("-a", f"{app_id}-2") as two,
    ):
        one.wait_line(UP)
        two.wait_line(UP)
        done = dapr("stop", f"{app_id}-1", f"{app_id}-0", "-a", f"{app_id}-2")
        assert done.returncode == 0, "as the official CLI"
        assert done.stdout.splitlines() == [
            f"✅  app stopped successfully: {app_id}-1",
            f"✅  app stopped successfully: {app_id}-2",
        ]
        missing = f"{app_id}-0"
        assert done.stderr == (
            f"❌  failed to stop app id {missing}: couldn't find app id {missing}\n"
        )
        assert one.wait_exit() == 0
        assert two.wait_exit() == 0


def test_a_sidecar_whose_cli_was_killed_can_be_stopped(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, exit_code=None) as run:
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        os.kill(run.process.pid, signal.SIGKILL)
        run.wait_exit()
        done = dapr("stop", app_id)
    assert done.stdout == f"✅  app stopped successfully: {app_id}\n"
    assert not is_alive(listed["daprdPid"])


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="pgrep is not installed")
def test_the_terms_of_the_official_cli(dapr: Dapr, app_id: str) -> None:
    """It finds processes by the kernel's name, reads their words, and kills the CLI's pid."""
    with dapr.run("--app-id", app_id, command=["sleep", "60"]) as run:
        run.wait_line(UP)
        found = subprocess.run(
            ["pgrep", "-x", "daprd"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.split()
        (listed,) = dapr.listed(app_id)
        assert str(listed["daprdPid"]) in found
        words = Path(f"/proc/{listed['daprdPid']}/cmdline").read_text().split("\0")
        assert words[words.index("--app-id") + 1] == app_id
        assert words[words.index("--dapr-http-port") + 1] == str(listed["httpPort"])
        subprocess.run(["kill", str(listed["cliPid"])], check=True, timeout=10)
        assert run.wait_exit() == 0
