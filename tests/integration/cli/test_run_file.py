"""``dapr run -f``: several applications, their logs, their end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from harness.cli import UP, Dapr, app_command
from harness.programs import console_script, free_port

from dapr_cli.processes import is_alive

ROUTES = {"POST /hi": {"status": 200, "body": "hello"}}
TALKER = "import sys, time; print('I talk', flush=True); time.sleep(60)"


def write(folder: Path, *apps: dict[str, Any], **more: Any) -> Path:
    for app in apps:
        (folder / str(app["appDirPath"])).mkdir(exist_ok=True)
    file = folder / "dapr.yaml"
    file.write_text(yaml.safe_dump({"version": 1, **more, "apps": list(apps)}))
    return file


def app(app_id: str, *command: str, **more: Any) -> dict[str, Any]:
    return {"appID": app_id, "appDirPath": app_id, "command": list(command), **more}


def talker(app_id: str, **more: Any) -> dict[str, Any]:
    return app(app_id, sys.executable, "-c", TALKER, **more)


def test_two_apps(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    file = write(
        dapr.home,
        app(one, *app_command(ROUTES), appPort=free_port()),
        talker(two),
        name="shop",
    )
    with dapr.run("-f", str(file)) as run:
        run.wait_line(UP)
        run.wait_line(f"== APP - {two} == I talk")
        (first,), (second,) = dapr.listed(one), dapr.listed(two)
        done = dapr("invoke", "-a", one, "-m", "hi")
        assert (done.returncode, done.stdout) == (0, "hello\n✅  App invoked successfully\n")
        run.wait_line(lambda line: line.startswith(f"== APP - {one} == ") and '"/hi"' in line)

        for record in (first, second):
            assert record["cliPid"] == run.process.pid
            assert record["runTemplatePath"] == str(file)
            assert record["runTemplateName"] == "shop"
        logs = dapr.home / two / ".dapr" / "logs"
        app_log, daprd_log = Path(second["appLogPath"]), Path(second["daprdLogPath"])
        assert sorted(logs.iterdir()) == [app_log, daprd_log]
        assert app_log.name.startswith(f"{two}_app_2")
        assert len(app_log.stem.rpartition("_")[2]) == len("20260102030405")
        assert app_log.read_text() == "I talk\n"
        assert "Starting Dapr Runtime" in daprd_log.read_text()
        assert "Starting Dapr Runtime" not in run.log
        assert os.getpgid(run.process.pid) == run.process.pid

        done = dapr("stop", "-f", str(dapr.home))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"✅  apps stopped successfully: {one}, {two}\n"
        assert run.wait_exit() == 0
    assert run.stdout_lines[-1] == "✅  Everything is stopped"
    for record in (first, second):
        assert not is_alive(record["appPid"])


def test_stop_of_one_app_ends_its_sidecar_only(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    with dapr.run("-f", str(write(dapr.home, talker(one), talker(two)))) as run:
        run.wait_line(UP)
        done = dapr("stop", one)
        assert done.stdout == f"✅  app stopped successfully: {one}\n"
        run.wait_line(f"The sidecar of {one} ended with exit code 0")
        assert dapr.listed(one) == []
        assert len(dapr.listed(two)) == 1


def test_an_app_that_ends_is_reported_and_the_others_go_on(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    file = write(dapr.home, app(one, "sh", "-c", "exit 4"), talker(two))
    with dapr.run("-f", str(file), exit_code=1) as run:
        run.wait_line(f"❌  The app {one} ended with exit code 4")
        run.wait_line(UP)
        assert len(dapr.listed(one)) == len(dapr.listed(two)) == 1


def test_one_that_cannot_start_stops_all(dapr: Dapr, app_id: str) -> None:
    one, two = f"{app_id}-1", f"{app_id}-2"
    file = write(dapr.home, talker(one), app(two, "no-such-program"))
    with dapr.run("-f", str(file), exit_code=1) as run:
        assert run.wait_exit() == 1
    assert run.stdout_lines[-1] == "✅  Everything is stopped"
    assert run.stderr_lines[-1].startswith(f"❌  the app {two} cannot be started: ")
    assert not any(UP in line for line in run.lines)


def test_a_sidecar_that_cannot_start_names_its_log(dapr: Dapr, app_id: str) -> None:
    file = write(dapr.home, talker(app_id, logLevel="loud"))
    with dapr.run("-f", str(file), exit_code=1) as run:
        assert run.wait_exit() == 1
    assert f"❌  the sidecar of {app_id} ended at its start with exit code 1" in run.lines
    (hint,) = [line for line in run.lines if "Its log is " in line]
    log = Path(hint.partition("Its log is ")[2].rstrip("."))
    assert "invalid value for --log-level: loud" in log.read_text()


def test_destinations_environment_and_standard_input(dapr: Dapr, app_id: str) -> None:
    script = 'echo "$APP_ID $A $PWD"; sleep 60'
    body = {
        "version": 1,
        "common": {"env": {"A": "common"}, "appLogDestination": "console"},
        "apps": [app(app_id, "sh", "-c", script, env={"A": "own"}, daprdLogDestination="console")],
    }
    (dapr.home / app_id).mkdir()
    read, written = os.pipe()
    os.write(written, yaml.safe_dump(body).encode())
    os.close(written)
    process = subprocess.Popen(
        [console_script("dapr"), "run", "-f", "-"],
        env={**os.environ, **dapr.env()},
        cwd=dapr.home,
        stdin=read,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read)
    assert process.stdout is not None
    said = f"== APP - {app_id} == {app_id} own {dapr.home / app_id}"
    lines: list[str] = []
    missing = [said, UP]  # whichever comes first
    patience = threading.Timer(60, process.terminate)
    patience.start()
    with process.stdout as stream:
        for line in stream:
            lines.append(line.rstrip("\n"))
            if missing and not (missing := [text for text in missing if text not in line]):
                process.terminate()
    patience.cancel()
    assert process.wait(60) == 0
    assert said in lines
    assert any(line.startswith(f"== DAPR - {app_id} == time=") for line in lines)
    assert not (dapr.home / app_id / ".dapr").exists()


def test_other_flags_are_ignored_and_named(dapr: Dapr, app_id: str) -> None:
    file = write(dapr.home, talker(app_id), unknown=1)
    flags = ["-f", str(file), "--app-id", "x", "--log-level", "debug"]
    with dapr.run(*flags, command=["ls"]) as run:
        run.wait_line(UP)
    (warning,) = [line for line in run.lines if "Ignored with --run-file" in line]
    assert warning == "⚠  Ignored with --run-file: --app-id, --log-level, the command 'ls'"
    assert f"⚠  {file}: unknown key 'unknown'" in run.lines
    assert "--runtime-path" not in warning


def test_what_is_wrong_with_a_file(dapr: Dapr) -> None:
    done = dapr("run", "-f", str(dapr.home / "absent.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"❌  the run file {dapr.home / 'absent.yaml'} does not exist\n"
    file = write(dapr.home)
    done = dapr("run", "-f", str(dapr.home))
    assert done.returncode == 1
    assert done.stderr == f"❌  {file}: 'apps' must list at least one application\n"
    done = dapr("stop", "-f", str(file))
    assert done.returncode == 0
    assert done.stderr == f"❌  failed to stop the apps of {file}: none of them is running\n"


def test_control_c_arrives_from_a_terminal_that_belongs_to_a_script(
    dapr: Dapr, app_id: str
) -> None:
    file = write(dapr.home, talker(app_id))
    script = f"{console_script('dapr')} run -f {file}; echo status=$?; read line; echo read=$line"
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(dapr.env())
        os.execv("/bin/sh", ["sh", "-c", script])
    try:
        text = _until(terminal, b"", UP.encode())
        text = _until(terminal, text, f"\x1b[36m== APP - {app_id} == ".encode())
        os.write(terminal, b"\x03")
        text = _until(terminal, text, b"status=0")
        os.write(terminal, b"back\n")  # the script has its terminal again
        _until(terminal, text, b"read=back")
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    except BaseException:
        dapr("stop", "-f", str(file))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise
    finally:
        os.close(terminal)


def test_a_terminal_that_is_closed_ends_everything(dapr: Dapr, app_id: str) -> None:
    file = write(dapr.home, talker(app_id))
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(dapr.env())
        os.execv(console_script("dapr"), ["dapr", "run", "-f", str(file)])
    try:
        _until(terminal, b"", UP.encode())
    finally:
        os.close(terminal)  # from here on writing to it is an error
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert dapr.sidecars() == []


def _until(terminal: int, text: bytes, wanted: bytes) -> bytes:
    until = time.monotonic() + 60
    while wanted not in text:
        assert time.monotonic() < until, text.decode(errors="replace")
        try:
            text += os.read(terminal, 4096)
        except OSError as error:
            raise AssertionError(text.decode(errors="replace")) from error
    return text
