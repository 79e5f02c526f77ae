"""Scripts that run beside a sidecar while a test goes on, and tell what they see line by line."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from cluster import faults
from cluster.kubectl import CommandError, start

APP = Path(__file__).resolve().parent / "app"
_LINES = 100_000
_SECONDS = 60.0


class Script:
    """One of ``app/`` that runs; leaving it closes its input, which is its sign to end."""

    def __init__(self, words: Sequence[str], process: subprocess.Popen[str]) -> None:
        self._words = words
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue(_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_input()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def next(self, seconds: float = _SECONDS) -> dict[str, Any]:
        """The next line. Raises ``CommandError`` when none comes."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            said = f"said nothing in {seconds:.0f} s"
        else:
            if line:
                found: dict[str, Any] = json.loads(line)
                return found
            assert self._process.stderr is not None
            said = f"ended: {self._process.stderr.read()}"
        raise CommandError(f"{' '.join(self._words)}: {said}")

    def until(self, status: int, body: str = "", seconds: float = _SECONDS) -> float:
        """When a watched path was answered so, in Unix time. Raises ``CommandError``."""
        while True:
            seen = self.next(seconds)
            if seen["status"] == status and (not body or seen["body"] == body):
                return float(seen["at"])

    def last(self) -> dict[str, Any]:
        """Let it come to its end: the line it ends with. Raises ``CommandError``."""
        self._close_input()
        return self.next()

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _read(self) -> None:
        """An empty line is the end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


def in_pod(namespace: str, app_id: str, *words: str) -> Script:
    """In the application's container, by way of the API server."""
    target = ("exec", "-i", "-n", namespace, f"deploy/{app_id}", "-c", "app", "--")
    name, *rest = words
    return Script(words, start("kubectl", *target, "python3", f"/app/{name}", *rest))


def beside_pod(pod: Mapping[str, Any], *words: str) -> Script:
    """In the pod's network only, which a local node lets us enter: no API server is needed."""
    name, *rest = words
    network = faults.inside_network(pod, "app")
    return Script(
        words,
        subprocess.Popen(
            [*network, sys.executable, str(APP / name), *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ),
    )
