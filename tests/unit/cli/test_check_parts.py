"""Parts of ``dapr check`` that need no broken machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from harness.authorities import now

from dapr_cli import launcher
from dapr_cli.check import ports
from dapr_cli.check.clock import differs
from dapr_cli.check.cluster_kinds import lacks
from dapr_cli.check.findings import Finding, in_order, of_validity
from dapr_cli.port_holders import holder


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_who_listens(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        assert f"pid {os.getpid()}: " in holder(port)
    assert f"pid {os.getpid()}: " not in holder(port)


def test_all_who_listen_on_one_port_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listens = (
            "import socket, sys;"
            f"server = socket.create_server(('127.0.0.2', {port}));"
            "print(flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", listens], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"\n"
            named = holder(port)
            other.communicate()
    # Not only they: the port may be somebody's on ::1.
    assert {os.getpid(), other.pid} <= {int(pid) for pid in re.findall(r"pid (\d+): ", named)}


@pytest.mark.parametrize(
    ("who", "mtls", "found"),
    [
        ("pid 7: /x/python /home/me/.dapr/bin/placement --port=50005", True, [50001, 50006]),
        ("pid 7: /usr/bin/postgres", True, [50001, 50005, 50006]),
        ("pid 7: /usr/bin/postgres", False, [50005, 50006]),
        ("", True, []),  # a container's, or another user's: it cannot be told
    ],
)
def test_the_ports_of_services(
    who: str, mtls: bool, found: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    monkeypatch.setattr(ports, "holder", lambda port: who)
    assert sorted(int(one.subject) for one in ports.check_services(mtls=mtls)) == found


@pytest.mark.parametrize(
    ("ends_in", "severity"),
    [
        (timedelta(days=31), None),
        (timedelta(days=29), "warning"),
        (timedelta(seconds=-1), "error"),
    ],
)
def test_validity(ends_in: timedelta, severity: str | None) -> None:
    moment = now()
    begins = moment - timedelta(days=40)
    found = of_validity("x", begins, moment + ends_in, moment, "renew", timedelta(days=30))
    assert (found.severity if found else None) == severity


def test_clocks_may_differ_a_little() -> None:
    moment = now()
    assert list(differs(moment + timedelta(seconds=30), moment, "the cluster")) == []
    (one,) = differs(moment - timedelta(minutes=5), moment, "the cluster")
    assert one.problem == "the clock is 0:05:00 ahead of that of the cluster"
    (one,) = differs(moment + timedelta(minutes=5), moment, "the cluster")
    assert one.problem == "the clock is 0:05:00 behind that of the cluster"


def test_errors_come_first() -> None:
    warning, error = (Finding(word, "a", "s", "p", "f") for word in ("warning", "error"))  # type: ignore[arg-type]
    assert in_order([warning, error]) == [error, warning]


@pytest.mark.parametrize(
    ("found", "place"),
    [
        ({"a": [{"b": 1, "more": 2}]}, ""),
        ({"a": [{"b": 2}]}, "a[0].b"),
        ({"a": []}, "a"),
        ({}, "a"),
    ],
)
def test_what_a_kind_lacks(found: object, place: str) -> None:
    assert lacks(found, {"a": [{"b": 1}], "empty": {}}, "") == place


@pytest.mark.parametrize("python", ["/usr/bin/python3", "/with a blank/python", f"/{'x' * 200}"])
def test_the_interpreter_of_a_launcher(python: str, tmp_path: Path) -> None:
    file = tmp_path / "daprd"
    file.write_text(launcher.text(python))
    assert launcher.python_of(file) == python
