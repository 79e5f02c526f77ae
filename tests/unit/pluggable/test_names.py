"""Sidecar and injector mean the same folder and the same variable."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dapr_injector.environment import COMPONENT_SOCKETS
from dapr_injector.settings import read
from dapr_sidecar import options
from dapr_sidecar.components.pluggable.sockets import SocketFolder
from dapr_sidecar.options import Options


def sidecar(**environment: str) -> Options:
    found = options.read(["--app-id", "a"], environment)
    assert isinstance(found, Options)
    return found


def test_the_injectors_variable_is_read() -> None:
    assert sidecar(**{COMPONENT_SOCKETS: "/x"}).component_sockets == Path("/x")


def test_the_default_is_the_injectors() -> None:
    source = Path(read.__code__.co_filename).read_text()
    assert f'"{sidecar().component_sockets}"' in source


def test_sockets_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    for name in ("b.sock", "My.Store.sock", "plain"):
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(name)
    Path("a.sock").write_text("a file")
    Path("c.sock").symlink_to("nowhere")
    folder = SocketFolder(tmp_path)
    assert folder.is_used
    assert folder.find("b") == tmp_path / "b.sock"
    assert folder.find("my.store") == tmp_path / "My.Store.sock"
    assert folder.find("PLAIN") == tmp_path / "plain"
    for name in ("a", "c", "my", "../b", "", "b.sock"):
        assert folder.find(name) is None
    missing = SocketFolder(tmp_path / "none")
    assert not missing.is_used
    assert missing.find("b") is None
    assert SocketFolder(tmp_path / "none", is_chosen=True).is_used
