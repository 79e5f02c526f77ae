"""Completion as it happens: real shells, typed into at a terminal."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
from harness.programs import console_script
from harness.sidecar import Sidecar

_SECONDS = 30.0
_SHELLS: dict[str, Sequence[str]] = {
    "bash": ("bash", "--noprofile", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
}
_PREPARED = {
    "bash": "source <(dapr completion bash)",
    "zsh": "autoload -Uz compinit && compinit -D && source <(dapr completion zsh)",
}
WRONG = ("dapr nope --x", "dapr workflow --x", "dapr init --network x --enable-ha=maybe --nope")


def environment(home: Path) -> dict[str, str]:
    path = os.pathsep.join((str(Path(console_script("dapr")).parent), os.environ["PATH"]))
    return {"PATH": path, "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8"}


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, shell: str, home: Path) -> None:
        self._shown = b""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            _SHELLS[shell],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=home,
            env=environment(home),
            start_new_session=True,
        )
        os.close(slave)

    def types(self, text: str) -> None:
        """As somebody at the keyboard does."""
        os.write(self._master, text.encode())

    def shows(self, text: str) -> str:
        """Wait until a text is seen, and look from there on; what was shown before it."""
        until = time.monotonic() + _SECONDS
        while text.encode() not in self._shown:
            ready, _, _ = select.select([self._master], [], [], until - time.monotonic())
            assert ready, f"{text!r} is not in {self._shown.decode(errors='replace')}"
            self._shown += os.read(self._master, 4096)
        before, self._shown = self._shown.split(text.encode(), 1)
        return before.decode()

    def close(self) -> None:
        """End the shell and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_SECONDS)
        os.close(self._master)


@contextmanager
def prepared(shell: str, home: Path) -> Iterator[Terminal]:
    if shutil.which(shell) is None:
        pytest.skip(f"not here: {shell}")
    terminal = Terminal(shell, home)
    try:
        # Put together by the shell, so that what is typed does not look like the answer.
        terminal.types(f"{_PREPARED[shell]} && printf '%s%s\\n' rea dy\n")
        terminal.shows("ready")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", _SHELLS)
def test_verbs_flags_and_files(shell: str, tmp_path: Path) -> None:
    (tmp_path / "only-one.yaml").touch()
    with prepared(shell, tmp_path) as terminal:
        terminal.types("dapr uninst\t")
        terminal.shows("uninstall")
        terminal.types("--al\t")
        terminal.shows("--all")
        terminal.types("\x15dapr mtls exp\t\t")
        terminal.shows("expiry")
        terminal.types("\x15dapr annotate -k only\t")
        terminal.shows("only-one.yaml")


@pytest.mark.parametrize("shell", _SHELLS)
def test_the_ids_of_running_apps(shell: str, tmp_path: Path, app_id: str) -> None:
    start, rest = app_id[:-4], app_id[-4:]
    with Sidecar(app_id), prepared(shell, tmp_path) as terminal:
        terminal.types(f"dapr stop --app-id {start}\t")
        terminal.shows(start)
        terminal.shows(rest)
        terminal.types(f"\x15dapr invoke -a {start}\t")
        terminal.shows(start)
        terminal.shows(rest)


@pytest.mark.parametrize("shell", _SHELLS)
def test_a_line_that_is_wrong_shows_nothing(shell: str, tmp_path: Path) -> None:
    with prepared(shell, tmp_path) as terminal:
        for line in WRONG:
            terminal.types(f"\x15{line}\t")
        terminal.types("\x15printf '%s%s\\n' do ne\n")
        shown = terminal.shows("done")
        assert [line for line in WRONG if line not in shown] == []
        assert [sign for sign in ("❌", "⚠", "Error", "Usage") if sign in shown] == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dapr uninst", ["uninstall"]),
        ("dapr uninstall --al", ["--all"]),
        ("dapr mtls exp", ["expiry", "export"]),
        ("dapr annotate -k only", ["only-one.yaml"]),
        ("dapr stop --app-id {start}", ["{app_id}"]),
        ("dapr publish -i {start}", ["{app_id}"]),
        *((line, []) for line in WRONG),
    ],
)
def test_fish(line: str, offered: list[str], tmp_path: Path, app_id: str) -> None:
    if shutil.which("fish") is None:
        pytest.skip("not here: fish")
    (tmp_path / "only-one.yaml").touch()
    names = {"app_id": app_id, "start": app_id[:-4]}
    script = "dapr completion fish | source; complete --do-complete $argv[1]"
    with Sidecar(app_id) if "start" in line else nullcontext():
        done = subprocess.run(
            ["fish", "--no-config", "-c", script, line.format(**names)],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    assert done.stderr == ""
    assert [one.split("\t")[0] for one in done.stdout.splitlines()] == [
        text.format(**names) for text in offered
    ]
