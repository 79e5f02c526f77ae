"""What a program tells systemd: by its socket, and by what its log lines begin with."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dapr_common.aio import run as running
from dapr_common.observe import logs, service_manager
from dapr_common.observe.health import Readiness
from dapr_common.observe.metrics import Registry
from dapr_common.program import ServiceSettings, observed

LOG = logging.getLogger("dapr.test")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(10)
        yield listener


def test_ready_and_stopping_are_said(told: socket.socket) -> None:
    service_manager.ready()
    service_manager.stopping()
    assert [told.recv(100), told.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_name_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"dapr-test-notify-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(10)
        service_manager.ready()
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.ready()


def test_a_socket_nobody_listens_at_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    service_manager.ready()
    assert "systemd cannot be told READY=1: " in caplog.text


async def test_a_program_is_ready_when_its_health_page_is(told: socket.socket) -> None:
    told.setblocking(False)
    service = ServiceSettings(
        metrics_enabled=False, healthz_listen_address="127.0.0.1", healthz_port=0
    )
    readiness = Readiness(["server"])
    async with observed(service, Registry(), readiness, LOG):
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            told.recv(100)
        readiness.ready("server")
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(told, 100) == b"READY=1"


async def test_a_signal_is_told_as_well(told: socket.socket) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    running._Stop(task, LOG, 3600.0).signalled(15)  # type: ignore[arg-type]
    assert told.recv(100) == b"STOPPING=1"
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>")],
)
def test_lines_for_the_journal_begin_with_their_priority(
    level: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _written(level, tmp_path, monkeypatch, journal=True).startswith(f"{prefix}time=")


def test_other_lines_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _written("error", tmp_path, monkeypatch, journal=False).startswith("time=")


def _written(level: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, journal: bool) -> str:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    with (folder / "out").open("w+", encoding="utf-8") as stream:
        found = os.fstat(stream.fileno())
        inode = found.st_ino if journal else found.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{inode}")
        monkeypatch.setattr(sys, "stdout", stream)
        logs.setup("debug", as_json=False, app_id="")
        try:
            getattr(logs.get_logger("dapr.test"), level)("hello")
        finally:
            root.handlers[:] = before
        stream.seek(0)
        return stream.read()
