"""``make setup`` on machines that are not ready for it, or were left by it half way."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from tools import environment


class Runs:
    """Takes the place of programs; ``codes`` are what they end with, then 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *codes: int) -> None:
        self.commands: list[list[str]] = []
        self._codes = list(codes)
        monkeypatch.setattr(environment.subprocess, "run", self._run)

    def _run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        self.commands.append(command)
        return subprocess.CompletedProcess(command, self._codes.pop(0) if self._codes else 0)


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(sys, "argv", ["environment.py", str(tmp_path), "all"])
    return tmp_path


def test_a_whole_one_is_only_installed_into(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (venv / "bin" / "pip").touch()
    runs = Runs(monkeypatch)
    assert environment.main() == 0
    assert ["install" in command for command in runs.commands] == [True]
    assert (venv / ".product").exists()


def test_one_without_pip_is_made_again(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    assert environment.main() == 0
    assert runs.commands[0] == [sys.executable, "-m", "venv", str(venv)]
    assert "install" in runs.commands[1]


def test_one_that_cannot_be_made_is_said_without_a_stack(
    venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, 1)
    assert environment.main() == 1
    assert len(runs.commands) == 1
    assert f"{venv} could not be made; the lines above say why." in capsys.readouterr().err
    assert not (venv / ".product").exists()


@pytest.mark.parametrize("spec", [None, ModuleSpec("ensurepip", None)])  # none, an empty folder
def test_what_debian_keeps_apart_is_named(
    spec: ModuleSpec | None,
    venv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
    runs = Runs(monkeypatch)
    assert environment.main() == 1
    assert runs.commands == []
    assert "sudo apt-get install python3-venv" in capsys.readouterr().err
