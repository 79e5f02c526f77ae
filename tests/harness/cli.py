"""``dapr`` as users call it: a process, with real sidecars and applications."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.programs import Program, console_script

from dapr_cli.__main__ import main
from dapr_cli.processes import Process, daprd_processes

APP = Path(__file__).with_name("app_http.py")
UP = "You're up and running!"


def app_command(routes: dict[str, Any] | None = None) -> list[str]:
    """An HTTP app that listens on ``APP_PORT`` and reports what it gets."""
    return [sys.executable, str(APP), json.dumps(routes or {})]


class Run(Program):
    """``dapr run``: starting two or more programs takes its time on a busy machine."""

    def wait_line(self, accept: Callable[[str], object] | str, seconds: float = 60.0) -> str:
        return super().wait_line(accept, seconds)


@dataclass(frozen=True)
class Dapr:
    """The command line with an initialised runtime of its own."""

    home: Path

    def init(self) -> None:
        """Write the embedded components and the launcher."""
        assert main(["init", "--runtime-path", str(self.home)]) == 0

    def env(self, **more: str) -> dict[str, str]:
        return {
            "DAPR_RUNTIME_PATH": str(self.home),
            "DAPR_HOST_IP": "127.0.0.1",
            # Nobody is there, and none is started: it would be one for all tests of the machine.
            "DAPR_PLACEMENT_HOST_ADDRESS": "127.0.0.1:9",
            **more,
        }

    def __call__(
        self, *arguments: str, stdin: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Call it and wait for its end."""
        return subprocess.run(
            [console_script("dapr"), *arguments],
            env={**os.environ, **self.env(**(env or {}))},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def run(
        self,
        *arguments: str,
        command: Sequence[str] = (),
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        exit_code: int | None = 0,
    ) -> Run:
        """``dapr run`` in the background; stopped by SIGTERM at the end of its block."""
        return Run(
            [console_script("dapr"), "run", *arguments, *(("--", *command) if command else ())],
            name="dapr run",
            env=self.env(PYTHONUNBUFFERED="1", **(env or {})),
            cwd=cwd or self.home,
            exit_code=exit_code,
            stop_seconds=30.0,
        )

    def listed(self, app_id: str) -> list[dict[str, Any]]:
        """What ``dapr list -o json`` says of an app."""
        done = self("list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return [each for each in json.loads(done.stdout) if each["appId"] == app_id]

    def sidecars(self) -> list[Process]:
        """The sidecars that use this runtime."""
        return [p for p in daprd_processes() if any(str(self.home) in a for a in p.arguments)]

    def assert_nothing_left(self) -> None:
        """Kill what is left of a test, and fail because of it."""
        left = self.sidecars()
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        assert left == []
