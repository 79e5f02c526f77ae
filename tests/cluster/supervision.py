"""Start the node's programs, write down what they say, and start again what ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence

from cluster.addresses import LOGS, PIDS

_PAUSE_SECONDS = 0.5
_LOOK_SECONDS = 0.05


class Supervisor:
    """The first process of the node: every orphan becomes its child."""

    def __init__(self) -> None:
        PIDS.mkdir()
        self._commands: dict[str, Sequence[str]] = {}
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}

    def start(self, name: str, command: Sequence[object]) -> None:
        """Start a program and keep it running."""
        self._commands[name] = [str(word) for word in command]
        self._launch(name)

    def wait_until(self, is_so: Callable[[], bool], seconds: float, what: str) -> None:
        """Look after the programs until something is so. Raises ``TimeoutError``."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self._collect()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {seconds:.0f} s; see {LOGS}")
            time.sleep(_LOOK_SECONDS)

    def run(self) -> None:
        """Look after the programs for ever."""
        while True:
            self._collect()
            time.sleep(_LOOK_SECONDS)

    def _launch(self, name: str) -> None:
        with (LOGS / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                self._commands[name], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._running[child.pid] = name, child
        (PIDS / name).write_text(str(child.pid), encoding="ascii")
        say(f"{name} runs as {child.pid}")

    def _collect(self) -> None:
        """Reap what has ended, by number: shims of containers are among it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid not in self._running:
                continue
            name, child = self._running.pop(pid)
            child.returncode = os.waitstatus_to_exitcode(status)
            say(f"{name} ended with {child.returncode}: starting it again")
            time.sleep(_PAUSE_SECONDS)
            self._launch(name)


def say(text: str) -> None:
    """A line of the node's own log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
