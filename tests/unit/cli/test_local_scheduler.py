"""Sidecars are told of the scheduler nobody named only when it is there."""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

import pytest

from dapr_cli import local_scheduler
from dapr_cli.local_scheduler import without_absent_scheduler
from dapr_cli.settings import RunSettings


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Any:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        monkeypatch.setattr(local_scheduler, "SCHEDULER_PORT", found.getsockname()[1])
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
