"""Tables, ages, processes, ports, names, content types: pure parts of the commands."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dapr_cli import ports, processes, render
from dapr_cli.commands.publish import content_type
from dapr_cli.commands.stop import process_to_signal
from dapr_cli.errors import CliError
from dapr_cli.instances import Instance, read_flags
from dapr_cli.names import random_app_id
from dapr_cli.ports import PortChooser
from dapr_cli.settings import RunSettings


def test_a_table() -> None:
    rows = [
        {"APP_ID": "a", "HTTP_PORT": 1, "COMMAND": "", "NOTE": "x"},
        {"APP_ID": "longer-id", "HTTP_PORT": 35000, "COMMAND": "", "NOTE": ""},
    ]
    assert render.table(rows).split("\n") == [
        "APP ID     HTTP PORT  NOTE",
        "a          1          x",
        "longer-id  35000",
    ]
    assert render.table([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (60, "60s"),
        (61, "1m"),
        (3600, "60m"),
        (3601, "1h"),
        (86400, "24h"),
        (86401, "1d"),
        (864000, "10d"),
    ],
)
def test_ages(seconds: int, text: str) -> None:
    assert render.age(seconds) == text


@pytest.fixture
def east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine two hours east of Greenwich."""
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("east")
def test_times_are_this_machines() -> None:
    assert render.created(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)) == "2026-03-04 07:06.07"


def test_cuts() -> None:
    assert render.cut("x" * 20) == "x" * 20
    assert render.cut("x" * 21) == "x" * 17 + "..."


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("daprd", ["/usr/bin/daprd", "--app-id", "a"], True),
        ("daprd", ["/venv/bin/python", "/venv/bin/daprd", "--app-id", "a"], True),
        ("", ["/usr/bin/daprd"], True),
        ("python3", ["python3", "/x/daprd", "--app-id=a"], True),
        ("python3", ["python3", "-m", "dapr_sidecar", "--app-id=a"], True),
        ("python3", ["python3", "-X", "dev", "-m", "dapr_sidecar"], False),
        ("python3", ["python3", "-X", "/x/daprd"], True),
        ("python3", ["python3", "/x/dapr_sidecar/__main__.py"], True),
        ("python3", ["python3", "app.py", "daprd"], False),
        ("python3", ["python3", "-m", "pytest", "daprd"], False),
        ("python3", ["python3"], False),
        ("vim", ["vim", "daprd"], False),
        ("daprd", [], False),
    ],
)
def test_what_is_a_daprd(name: str, arguments: list[str], expected: bool) -> None:
    assert processes.is_daprd(name, arguments) is expected


def test_processes_from_ps() -> None:
    output = (
        "    1     0 10-01:02:03 /sbin/init\n"
        "  700     1    01:02:03 /home/u/.dapr/bin/daprd --app-id a --dapr-http-port 3500\n"
        "  701   600       00:05 python3 /venv/bin/daprd --app-id b\n"
    )
    first, second = processes.parse_ps(output, now=1_000_000.0)
    assert (first.pid, first.parent, first.arguments[1:3]) == (700, 1, ("--app-id", "a"))
    assert first.started.timestamp() == 1_000_000 - 3723
    assert (second.pid, second.parent) == (701, 600)


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
def test_ps_finds_what_proc_finds() -> None:
    script = "import time; time.sleep(60)"
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(["daprd", *command[1:]], executable=sys.executable)
    try:
        found = {each.pid: each for each in processes._from_ps()}
        assert found[process.pid].parent == os.getpid()
        same = {each.pid: each for each in processes.daprd_processes()}[process.pid]
        assert abs((found[process.pid].started - same.started).total_seconds()) <= 20
        assert same.arguments == ("daprd", "-c", script)
        assert abs((datetime.now(UTC) - same.started).total_seconds()) < 60
        assert processes.is_alive(process.pid)
    finally:
        process.kill()
        process.wait()
    assert not processes.is_alive(process.pid)


def test_an_ended_process_nobody_collected_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], process_group=0)
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not processes.is_alive(process.pid)
        assert not processes.group_is_alive(process.pid)
    finally:
        process.wait()


def test_flags_of_a_command_line() -> None:
    words = "daprd --app-id a -app-port 80 --config=x=y --enable-mtls --profile-port -1 --log-level"
    assert read_flags(words.split()) == {
        "app-id": "a",
        "app-port": "80",
        "config": "x=y",
        "enable-mtls": "true",
        "profile-port": "-1",
        "log-level": "true",
    }


@pytest.mark.parametrize(
    ("command_line", "words"),
    [
        (b"daprd\0--app-id\0a\0", ("daprd", "--app-id", "a")),
        (b"daprd\0--placement-host-address\0\0", ("daprd", "--placement-host-address", "")),
        (b"a title of its own", ("a title of its own",)),
        (b"", ()),
    ],
)
def test_words_of_a_process(command_line: bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cmdline").write_bytes(command_line)
    assert processes._arguments(tmp_path) == words
    assert processes._arguments(tmp_path / "ended") == ()


SETTINGS = RunSettings(app_id="a")


def test_ports_are_chosen_and_differ() -> None:
    chooser = PortChooser()
    settled = [chooser.settle(SETTINGS) for _ in range(10)]
    taken = [
        port
        for each in settled
        for port in (each.http_port, each.grpc_port, each.internal_grpc_port, each.metrics_port)
    ]
    assert len(set(taken)) == 40
    assert all(each.profile_port == -1 and each.app_port == 0 for each in settled)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(CliError, match=rf"^invalid configuration for HTTPPort. Port {port} is"):
            PortChooser().settle(RunSettings(app_id="a", http_port=port))


def test_a_port_of_another_sidecar_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(CliError, match=f"for GRPCPort. Port {port} is not available"):
        PortChooser({port}).settle(RunSettings(app_id="a", grpc_port=port))
    with pytest.raises(CliError, match=r"for MetricsPort. Port 70000 is not available"):
        PortChooser().settle(RunSettings(app_id="a", metrics_port=70000))


def test_names_avoid_those_taken() -> None:
    taken: set[str] = set()
    for _ in range(50):
        name = random_app_id(taken)
        assert name not in taken
        assert name.replace("-", "").isalpha()
        taken.add(name)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id":"1","source":"s","specversion":"1.0","type":"t","data":1}', "cloudevents+json"),
        (b'{"id":"1","source":"s","specversion":"1.0","type":"t"}', "json"),
        (b'"id source specversion type data"', "json"),
        (b"not json", "json"),
        (b"\xff", "json"),
        (None, "json"),
    ],
)
def test_what_is_published_as_a_cloud_event(body: bytes | None, expected: str) -> None:
    assert content_type(body) == f"application/{expected}"


def instance(daprd: int, parent: int, cli: int) -> Instance:
    return Instance(
        app_id="a",
        http_port=1,
        grpc_port=2,
        app_port=0,
        metrics_port=3,
        metrics_enabled=True,
        unix_domain_socket="",
        max_body_bytes=0,
        read_buffer_bytes=0,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        daprd_pid=daprd,
        parent_pid=parent,
        cli_pid=cli,
    )


def test_which_process_stop_signals() -> None:
    alone, bare, orphan = instance(11, 10, 10), instance(12, 1, 0), instance(13, 1, 9)
    first, second = instance(21, 20, 20), instance(22, 20, 20)
    running = [alone, bare, orphan, first, second]
    assert process_to_signal(alone, running) == 10
    assert process_to_signal(bare, running) == 12
    assert process_to_signal(orphan, running) == 13, "its CLI is gone, the pid may be another's"
    assert process_to_signal(first, running) == 21, "the CLI runs another app, too"
