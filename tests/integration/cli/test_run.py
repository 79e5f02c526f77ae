"""``dapr run`` of one application."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from harness.cli import UP, Dapr, app_command
from harness.programs import free_port
from harness.sidecar import component

from dapr_cli.processes import is_alive

INFO = "ℹ️"  # noqa: RUF001 - the sign
PRINT_ENV = (
    "import json, os; print('ENV', json.dumps({k: v for k, v in os.environ.items()"
    " if k.startswith(('APP_', 'DAPR_'))}), flush=True); import time; time.sleep(60)"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('stubborn', flush=True); time.sleep(60)"
)


def metadata(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1.0/metadata", timeout=10) as answer:
        return json.load(answer)


def test_an_app_with_its_sidecar(dapr: Dapr, app_id: str) -> None:
    port = free_port()
    command = app_command()
    with dapr.run("--app-id", app_id, "--app-port", str(port), command=command) as run:
        run.wait_line(f"✅  {UP} Both Dapr and your app logs will appear here.")
        run.wait_line("dapr initialized. Status: Running")
        (listed,) = dapr.listed(app_id)
        extended = metadata(listed["httpPort"])["extended"]
        assert listed["cliPid"] == run.process.pid
        assert listed["appPort"] == port
        assert listed["command"] == " ".join(command)
        assert extended["cliPID"] == str(run.process.pid)
        assert extended["appPID"] == str(listed["appPid"])
        assert extended["appCommand"] == " ".join(command)
        assert Path(f"/proc/{listed['daprdPid']}/comm").read_text() == "daprd\n"
        assert os.getpgid(listed["appPid"]) == listed["appPid"]
        assert run.stdout_lines[0] == (
            f"{INFO}  Starting Dapr with id {app_id}. HTTP Port: {listed['httpPort']}. "
            f"gRPC Port: {listed['grpcPort']}"
        )
    assert run.stdout_lines[-1] == "✅  Exited Dapr and the app successfully"
    assert dapr.listed(app_id) == []


def test_a_line_for_programs_that_wait(dapr: Dapr, app_id: str) -> None:
    port = free_port()
    flags = ["--app-id", app_id, "--app-port", str(port), "--placement-host-address", ""]
    with dapr.run(*flags, "--ready-line", command=app_command()) as run:
        said = json.loads(run.wait_line("DAPR_READY {").removeprefix("DAPR_READY "))
        (listed,) = dapr.listed(app_id)
        metrics = f"http://127.0.0.1:{said.pop('metricsPort')}/metrics"
        assert urllib.request.urlopen(metrics, timeout=10).status == 200
        assert said == {
            "appId": app_id,
            "httpPort": listed["httpPort"],
            "grpcPort": listed["grpcPort"],
            "appPort": port,
            "pid": run.process.pid,
        }
        url = f"http://127.0.0.1:{said['httpPort']}/v1.0/healthz"
        assert urllib.request.urlopen(url, timeout=10).status == 204, "the app is up, too"


def test_the_line_is_not_printed_for_an_app_that_ends(dapr: Dapr, app_id: str) -> None:
    flags = ["--app-id", app_id, "--app-port", str(free_port()), "--ready-line"]
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with dapr.run(*flags, command=command, exit_code=1) as run:
        run.wait_exit(60)
    assert not [line for line in run.lines if line.startswith("DAPR_READY")]


def test_what_the_app_finds_in_its_environment(dapr: Dapr, app_id: str) -> None:
    ports = [free_port() for _ in range(4)]
    http, grpc, metrics, internal = map(str, ports)
    flags = ["-H", http, "-G", grpc, "-M", metrics, f"--dapr-internal-grpc-port={internal}"]
    with dapr.run("-a", app_id, *flags, command=[sys.executable, "-c", PRINT_ENV]) as run:
        env = json.loads(run.wait_line("ENV {").removeprefix("ENV "))
        run.wait_line(UP)
    assert env.pop("DAPR_RUNTIME_PATH")
    assert env.pop("DAPR_HOST_IP")
    assert env.pop("DAPR_PLACEMENT_HOST_ADDRESS")
    assert env == {
        "APP_ID": app_id,
        "APP_CHANNEL_ADDRESS": "127.0.0.1",
        "APP_PROTOCOL": "http",
        "DAPR_HTTP_PORT": http,
        "DAPR_GRPC_PORT": grpc,
        "DAPR_METRICS_PORT": metrics,
    }


def test_the_state_store_of_init_serves(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, "-H", str(port := free_port())) as run:
        run.wait_line(UP)
        body = json.dumps([{"key": "k", "value": 1}]).encode()
        url = f"http://127.0.0.1:{port}/v1.0/state/statestore"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 204
        names = {c["name"]: c["type"] for c in metadata(port)["components"]}
    assert names == {
        "statestore": "state.sqlite",
        "pubsub": "pubsub.sqlite",
        "secretstore": "secretstores.local.file",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_app_first(number: signal.Signals, dapr: Dapr, app_id: str) -> None:
    script = (
        "import signal, sys, time\n"
        "def bye(*_): print('app says bye', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye); print('app waits', flush=True); time.sleep(60)"
    )
    with dapr.run("--app-id", app_id, command=[sys.executable, "-c", script]) as run:
        run.wait_line("app waits")
        run.wait_line(UP)
        run.signal(number)
        assert run.wait_exit() == 0
    order = [
        index
        for index, line in enumerate(run.stdout_lines)
        if "app says bye" in line or "Received signal 'TERM'" in line or "gracefully" in line
    ]
    assert len(order) == 3
    assert "bye" in run.stdout_lines[order[0]]
    assert run.stdout_lines[-1] == "✅  Exited Dapr and the app successfully"


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 1)])
def test_the_end_of_the_app_is_the_end(code: int, status: int, dapr: Dapr, app_id: str) -> None:
    script = f"import sys; sys.exit({code})"
    command = [sys.executable, "-c", script]
    with dapr.run("--app-id", app_id, command=command, exit_code=status) as run:
        assert run.wait_exit() == status
    sign = INFO if code == 0 else "❌"
    assert f"{sign}  The app {app_id} ended with exit code {code}" in run.lines
    assert ("✅  Exited Dapr and the app successfully" in run.lines) is (code == 0)
    assert "Daprd shutdown gracefully" in run.log


def test_the_end_of_the_sidecar_is_the_end(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, command=["sleep", "60"], exit_code=1) as run:
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        os.kill(listed["daprdPid"], signal.SIGKILL)
        assert run.wait_exit() == 1
    assert f"❌  The sidecar of {app_id} ended with signal SIGKILL" in run.lines
    assert not is_alive(listed["appPid"])


def test_a_second_signal_does_not_wait(dapr: Dapr, app_id: str) -> None:
    command = [sys.executable, "-c", STUBBORN]
    with dapr.run("--app-id", app_id, command=command) as run:
        run.wait_line("stubborn")
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        run.signal(signal.SIGINT)
        run.wait_line("Stopping; a second signal does not wait")
        run.signal(signal.SIGINT)
        run.wait_line(f"The app {app_id} did not end when asked to and was killed")
        assert run.wait_exit() == 0
    assert not is_alive(listed["appPid"])
    # In its own time the app would have been killed as well, but never a sidecar that ends.
    assert f"The sidecar of {app_id} did not end when asked to and was killed" in run.log


def test_a_signal_while_it_starts(dapr: Dapr, app_id: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        slow = component("c", "state.redis", redisHost=f"127.0.0.1:{silent.getsockname()[1]}")
        slow["spec"]["initTimeout"] = "1h"
        (tmp_path / "slow").mkdir()
        (tmp_path / "slow" / "c.yaml").write_text(json.dumps(slow))
        flags = ["--app-id", app_id, "--resources-path", str(tmp_path / "slow")]
        with dapr.run(*flags, command=["echo", "the app runs"]) as run:
            run.wait_line("Loading component: c")
            run.signal(signal.SIGTERM)
            assert run.wait_exit() == 0
    assert "the app runs" not in run.lines


def test_without_a_command_only_the_sidecar_runs(dapr: Dapr) -> None:
    with dapr.run() as run:
        run.wait_line(f"✅  {UP} Dapr logs will appear here.")
        (sidecar,) = dapr.sidecars()
    assert "⚠  No application command was given: only the sidecar runs" in run.lines
    name = sidecar.arguments[sidecar.arguments.index("--app-id") + 1]
    assert len(name.split("-")) == 2
    assert run.stdout_lines[-1] == "✅  Exited Dapr"


def test_a_program_that_is_not_there(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--app-id", app_id, command=["no-such-program"], exit_code=1) as run:
        assert run.wait_exit() == 1
    assert run.stderr_lines[-1].startswith(f"❌  the app {app_id} cannot be started")
    assert "no-such-program" in run.stderr_lines[-1]


def test_a_sidecar_that_cannot_start(dapr: Dapr, app_id: str, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.yaml").write_text(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\n"
        "spec: {type: state.nope, version: v1}\n"
    )
    flags = ["--app-id", app_id, "--resources-path", str(tmp_path / "bad")]
    with dapr.run(*flags, command=["echo", "the app runs"], exit_code=1) as run:
        assert run.wait_exit() == 1
    assert f"❌  the sidecar of {app_id} ended at its start with exit code 1" in run.lines
    assert "couldn't find state store state.nope/v1" in run.log
    assert "the app runs" not in run.lines


def test_a_manifest_that_is_not_valid(dapr: Dapr, app_id: str, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.yaml").write_text("a: [")
    done = dapr("run", "--app-id", app_id, "--resources-path", str(tmp_path / "bad"))
    assert done.returncode == 1
    assert f"❌  {tmp_path / 'bad' / 'a.yaml'}: the resource is not valid" in done.stderr
    assert done.stdout == ""


def test_a_port_in_use(dapr: Dapr, app_id: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = dapr("run", "--app-id", app_id, "--dapr-http-port", str(port))
    assert done.returncode == 1
    message = f"❌  invalid configuration for HTTPPort. Port {port} is not available\n"
    assert done.stderr.endswith(
        f"{message}ℹ️  'dapr list' shows the running sidecars and their ports.\n"  # noqa: RUF001
    )


def test_before_init(dapr: Dapr, tmp_path: Path) -> None:
    done = dapr("run", "--runtime-path", str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "components does not exist" in done.stderr
    assert "Run 'dapr init' first." in done.stderr
    done = dapr("run", "--config", "absent.yaml")
    assert done.returncode == 1
    assert "❌  the configuration file absent.yaml does not exist" in done.stderr


def test_flags_reach_the_sidecar(dapr: Dapr, app_id: str) -> None:
    port, app_port = free_port(), free_port()
    flags = [
        *("--app-id", app_id, "--app-port", str(app_port), "-H", str(port)),
        *("--enable-app-health-check", "--app-health-check-path", "/alive"),
        *("--app-health-probe-interval", "7", "--app-health-probe-timeout", "300"),
        *("--app-health-threshold", "2", "--app-max-concurrency", "9"),
        *("--log-level", "debug", "--enable-api-logging", "--max-body-size", "1Mi"),
        *("--read-buffer-size", "8Ki", "--dapr-listen-addresses", "127.0.0.1"),
        *("--resources-path", "", "--placement-host-address", ""),
    ]
    with dapr.run(*flags, command=app_command({"GET /alive": {"status": 200}})) as run:
        run.wait_line("dapr initialized. Status: Running")
        run.wait_line(UP)
        said = metadata(port)
        (listed,) = dapr.listed(app_id)
    assert "components" not in said
    assert said["appConnectionProperties"] == {
        "port": app_port,
        "protocol": "http",
        "channelAddress": "127.0.0.1",
        "maxConcurrency": 9,
        "health": {
            "healthCheckPath": "/alive",
            "healthProbeInterval": "7s",
            "healthProbeTimeout": "300ms",
            "healthThreshold": 2,
        },
    }
    assert listed["maxRequestBodySize"] == 1 << 20
    assert listed["httpReadBufferSize"] == 8 << 10
    assert "Log level set to: debug" in run.log


def test_unix_sockets(dapr: Dapr, app_id: str) -> None:
    folder = dapr.home / "s"
    folder.mkdir()
    flags = ["--app-id", app_id, "--app-port", str(free_port()), "-u", str(folder)]
    routes = {"POST /hi": {"status": 200, "body": "hello"}}
    with dapr.run(*flags, command=app_command(routes)) as run:
        run.wait_line("dapr initialized. Status: Running")
        run.wait_line(UP)
        (listed,) = dapr.listed(app_id)
        assert listed["cliPid"] == run.process.pid
        done = dapr("invoke", "-a", app_id, "-m", "hi")
        assert (done.returncode, done.stdout) == (0, "hello\n✅  App invoked successfully\n")
        done = dapr("invoke", "-a", app_id, "-m", "hi", "-u", str(folder))
        assert done.returncode == 0
    assert list(folder.iterdir()) == []


def test_a_token_protects_the_sidecar_and_the_cli_knows_it(dapr: Dapr, app_id: str) -> None:
    token = {"DAPR_API_TOKEN": "a-token"}
    with dapr.run("--app-id", app_id, command=["sleep", "60"], env=token) as run:
        run.wait_line(UP)
        done = dapr("list", "-o", "json", env=token)
        (listed,) = [each for each in json.loads(done.stdout) if each["appId"] == app_id]
        assert listed["command"] == "sleep 60"
        (blind,) = dapr.listed(app_id)
        assert (blind["command"], blind["daprdPid"]) == ("", listed["daprdPid"])
    assert "a-token" not in run.log


def test_status_lines_and_logs_as_json(dapr: Dapr, app_id: str) -> None:
    with dapr.run("--log-as-json", "--app-id", app_id, command=["sleep", "60"]) as run:
        run.wait_line(UP)
    records = [json.loads(line) for line in run.lines]
    assert {"success", "info"} <= {record.get("status") for record in records}
    assert any(record.get("app_id") == app_id for record in records), "the sidecar's, too"
