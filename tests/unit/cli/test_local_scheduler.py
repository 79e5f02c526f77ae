"""Sidecars are told of the scheduler nobody named only when it is there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
from typing import Any

import pytest

from dapr_cli import local_scheduler
from dapr_cli.local_scheduler import without_absent_scheduler
from dapr_cli.settings import RunSettings


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Bound and not listening; the port is nobody else's on ::1, either: that is localhost, too."""
    with contextlib.ExitStack() as bound:
        while True:
            found = bound.enter_context(socket.socket())
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
            try:
                bound.enter_context(socket.socket(socket.AF_INET6)).bind(("::1", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue  # otherwise there is no ::1
            break
        monkeypatch.setattr(local_scheduler, "SCHEDULER_PORT", port)
        yield found


SETTINGS = RunSettings(app_id="a")


def test_one_that_is_there(listener: socket.socket) -> None:
    listener.listen()
    assert without_absent_scheduler(SETTINGS) is SETTINGS


def test_one_that_is_not(listener: socket.socket) -> None:
    assert without_absent_scheduler(SETTINGS).scheduler_host_address == ""


def test_one_that_was_named_is_never_left_out(listener: socket.socket) -> None:
    for address in ("elsewhere", "localhost:50006", ""):
        named = dataclasses.replace(SETTINGS, scheduler_host_address=address)
        assert without_absent_scheduler(named) is named
