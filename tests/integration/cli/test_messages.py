"""What is said of running sidecars in situations that do not come every day."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import yaml
from harness.cli import Dapr
from harness.programs import Program, free_port
from harness.sidecar import Sidecar

from dapr_cli.__main__ import main
from dapr_cli.processes import is_alive

ANOTHER = Path(__file__).with_name("another_cli.py")
INFO = "ℹ️  "  # noqa: RUF001 - the sign


def check(dapr: Dapr, subject: str, *arguments: str) -> dict[str, str]:
    found = json.loads(dapr("check", "-o", "json", *arguments).stdout)
    (one,) = [each for each in found if subject in each["subject"]]
    assert isinstance(one, dict)
    return one


def test_uninstall_leaves_running_sidecars_alone(dapr: Dapr, app_id: str) -> None:
    with Sidecar(app_id) as sidecar:
        done = dapr("uninstall")
        assert done.returncode == 0
        said = "⚠  Sidecars are running and go on until they are stopped: "
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(said)]
        assert app_id in line.removeprefix(said).split(", ")
        assert is_alive(sidecar.process.pid)
        assert done.stdout.splitlines()[-2:] == [
            f"✅  {dapr.home}/.dapr/bin is removed",
            f"{INFO}Configuration, components and data stay in {dapr.home}/.dapr (see --all)",
        ]


def test_check_of_a_sidecar_that_wants_a_token(dapr: Dapr, app_id: str) -> None:
    with Sidecar(app_id, env={"DAPR_API_TOKEN": "a-token"}):
        one = check(dapr, app_id)
    assert (one["severity"], one["problem"]) == ("warning", "does not tell: it wants a token")
    assert one["fix"] == "Set DAPR_API_TOKEN to the token that this sidecar was started with."


def test_check_of_a_program_nobody_may_start(dapr: Dapr) -> None:
    daprd = dapr.home / ".dapr" / "bin" / "daprd"
    daprd.chmod(0o644)
    one = check(dapr, str(daprd))
    assert (one["problem"], one["fix"]) == ("is not executable", f"chmod +x {daprd}")


def test_check_of_ports(dapr: Dapr, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = check(dapr, str(server.getsockname()[1]), "-p", str(server.getsockname()[1]))
    assert one["fix"] == "Stop that program, or choose another port."
    apps = [{"appDirPath": ".", "appID": name, "daprGRPCPort": 61234} for name in ("x", "y")]
    (tmp_path / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "apps": apps}))
    one = check(dapr, "y daprGRPCPort", "-f", str(tmp_path))
    assert one["fix"] == "Give one of them another port."
    (tmp_path / "dapr.yaml").write_text("version: 0")
    assert check(dapr, str(tmp_path), "-f", str(tmp_path))["fix"] == "Correct the run file."


def test_stop_of_a_sidecar_that_does_not_end(
    dapr: Dapr,
    app_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dapr_cli.commands.stop._PATIENCE_SECONDS", 0.2)
    with Sidecar(app_id) as sidecar:
        pid = sidecar.process.pid
        sidecar.signal(signal.SIGSTOP)
        try:
            assert main(["stop", app_id]) == 0, "as the official CLI"
        finally:
            sidecar.signal(signal.SIGCONT)
        assert sidecar.wait_exit() == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        (
            f"❌  failed to stop app id {app_id}: daprd is still running, process {pid}; "
            f"'kill -9 {pid}' ends it\n"
        ),
    )


def test_stop_of_a_run_file_whose_cli_does_not_end(
    dapr: Dapr,
    app_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dapr_cli.commands.stop._PATIENCE_SECONDS", 0.2)
    file = dapr.home / "dapr.yaml"
    file.write_text("version: 1")
    port = Sidecar(app_id).http_port
    command = [str(dapr.home / ".dapr" / "bin" / "daprd"), "--app-id", app_id]
    command += [f"--dapr-http-port={port}", "--dapr-grpc-port=0", "--metrics-port=0"]
    metadata = {"runTemplatePath": str(file)}
    words = json.dumps([{"command": command, "port": port, "metadata": metadata}])
    with Program([sys.executable, str(ANOTHER), words], exit_code=None) as other:
        other.wait_line("up")
        (listed,) = dapr.listed(app_id)
        os.kill(other.process.pid, signal.SIGSTOP)
        assert main(["stop", "-f", str(file)]) == 0
        assert other.wait_exit() == -signal.SIGKILL
    assert not is_alive(listed["daprdPid"])
    said = capsys.readouterr()
    assert said.out == f"✅  apps stopped successfully: {app_id}\n"
    assert said.err == "⚠  Some processes had to be killed\n"


def test_a_run_file_says_what_it_starts(dapr: Dapr, app_id: str) -> None:
    (dapr.home / "a").mkdir()
    app = {"appID": app_id, "appDirPath": "a"}
    (dapr.home / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "apps": [app]}))
    with dapr.run("-f", ".") as run:
        run.wait_line("You're up and running!")
        (listed,) = dapr.listed(app_id)
    assert f"⚠  {app_id} has no command: only its sidecar runs" in run.lines
    ports = f"HTTP Port: {listed['httpPort']}. gRPC Port: {listed['grpcPort']}"
    assert run.stdout_lines == [
        f"{INFO}Starting Dapr with id {app_id}. {ports}",
        f"{INFO}The sidecar of {app_id} writes to {listed['daprdLogPath']}",
        "✅  You're up and running! The apps' lines appear here, Ctrl-C stops everything.",
        f"{INFO}Stopping the apps and their sidecars; another signal does not wait",
        "✅  Everything is stopped",
    ]


def test_a_sidecar_that_never_serves(
    dapr: Dapr,
    app_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dapr_cli.pair._READY_SECONDS", 1.0)
    monkeypatch.setenv("DAPR_PLACEMENT_HOST_ADDRESS", "127.0.0.1:9")
    daprd = dapr.home / ".dapr" / "bin" / "daprd"
    daprd.write_text("#!/bin/sh\nexec sleep 600\n")
    port = free_port()
    flags = ["--runtime-path", str(dapr.home), "-a", app_id, "-H", str(port)]
    assert main(["run", *flags, "--", "echo", "the app runs"]) == 0
    said = capfd.readouterr()
    assert "the app runs\n" in said.out
    target = f"127.0.0.1:{port}"
    less = f"'dapr list' will know less: {target}: Connection refused"
    assert said.err.splitlines() == [
        f"⚠  The sidecar of {app_id} does not serve after 1 s at {target}, going on without it",
        f"⚠  The sidecar of {app_id} does not take its metadata, {less}",
    ]
