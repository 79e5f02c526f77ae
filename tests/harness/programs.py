"""Real programs under test: free ports, their output line by line, a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self, TypeVar

_PORTS = range(12_000, 32_000)  # below those the system gives to outgoing connections
_TAIL = 60  # lines shown in a failure
_READER_SECONDS = 10
T = TypeVar("T")
running: list[Program] = []  # started and not ended: whose lines a failed test shows


class ProgramError(AssertionError):
    """A program did not do what a test waits for; the text ends with its last lines."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that no other test process takes while this one runs."""
    for port in random.sample(_PORTS, 200):
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if sys.platform == "linux":  # an abstract name: gone with the process
                claim.bind(f"\0dapr-test-port-{port}")
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            claim.detach()
            return port
        claim.close()
    raise RuntimeError("no free port between 12000 and 32000")


def console_script(name: str) -> str:
    """The path of a program installed beside the Python that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def accepts_connections(port: int) -> bool:
    """Whether something listens on 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Program:
    """One process; everything it writes is kept, and can be waited for.

    Use it as ``with`` or ``async with``. Leaving sends SIGTERM and asserts the exit code; when
    the block already failed, the last lines of the program are added to the failure as a note.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        exit_code: int | None = 0,
        start_seconds: float = 60.0,
        stop_seconds: float = 30.0,
    ) -> None:
        self.command = list(command)
        self.name = name or Path(command[0]).name
        self.exit_code = exit_code  # None: any will do
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds
        self.lines: list[str] = []  # in their order of each output: nothing tells that of both
        self.stdout_lines: list[str] = []
        self.stderr_lines: list[str] = []
        self._env = dict(os.environ, **(env or {}))
        self._cwd = cwd
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._written = threading.Condition()

    # --- the process ------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, f"{self.name} is not started"
        return self._process

    @property
    def log(self) -> str:
        """Everything written so far to both outputs."""
        return "\n".join(self.lines)

    def start(self) -> None:
        """Start the process without waiting for anything."""
        self._process = subprocess.Popen(
            self.command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=args, daemon=True)
            for args in (
                (self._process.stdout, (self.lines, self.stdout_lines)),
                (self._process.stderr, (self.lines, self.stderr_lines)),
            )
        ]
        for reader in self._readers:
            reader.start()
        running.append(self)

    def _read(self, stream: IO[str], targets: tuple[list[str], ...]) -> None:
        with stream:
            for line in stream:
                with self._written:
                    for target in targets:
                        target.append(line.rstrip("\n"))
                    self._written.notify_all()
        with self._written:
            self._written.notify_all()

    def is_ready(self) -> bool:
        """Whether the program serves; a started process is, unless a subclass knows better."""
        return True

    def ended(self) -> None:
        """Called once when the process is gone."""

    def wait_ready(self) -> None:
        """Wait until it serves; its early end or ``start_seconds`` is a ``ProgramError``."""
        until = time.monotonic() + self.start_seconds
        while not self.is_ready():
            self._assert_running()
            if time.monotonic() > until:
                raise self.failure(f"is not ready after {self.start_seconds:g} s")
            time.sleep(0.01)

    def _assert_running(self) -> None:
        if (status := self.process.poll()) is not None:
            self._join()
            raise self.failure(f"ended with exit code {status}")

    def wait_exit(self, seconds: float | None = None) -> int:
        """Wait for the end of the process. Returns its exit code."""
        seconds = self.stop_seconds if seconds is None else seconds
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            raise self.failure(f"did not end within {seconds:g} s") from None
        self._join()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end with SIGTERM and assert its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        status = self.wait_exit()
        if self.exit_code is not None and status != self.exit_code:
            raise self.failure(f"ended with exit code {status}, not {self.exit_code}")

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._join()

    def _join(self) -> None:
        if self in running:
            running.remove(self)
            self.ended()
        for reader in self._readers:
            self._join_reader(reader)

    def _join_reader(self, reader: threading.Thread) -> None:
        """A grandchild may hold the pipe: given up once nothing comes, or much has come."""
        count = -1
        for _ in range(_READER_SECONDS):
            if not reader.is_alive() or len(self.lines) == count:
                return
            count = len(self.lines)
            reader.join(1.0)

    # --- what it writes ---------------------------------------------------------------------

    def wait_line(self, accept: Callable[[str], object] | str, seconds: float = 40.0) -> str:
        """The first line, past or coming, that contains the text or satisfies the function."""
        return self.wait_lines(accept, 1, seconds)[0]

    def wait_lines(
        self, accept: Callable[[str], object] | str, count: int, seconds: float = 40.0
    ) -> list[str]:
        """The first ``count`` such lines."""
        wanted = accept if callable(accept) else lambda line: accept in line
        until = time.monotonic() + seconds
        found: list[str] = []
        seen = 0
        with self._written:
            while True:
                found += [line for line in self.lines[seen:] if wanted(line)]
                seen = len(self.lines)
                if len(found) >= count:
                    return found[:count]
                left = until - time.monotonic()
                ended = not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or (ended and seen == len(self.lines)):
                    raise self.failure(f"wrote {len(found)} of {count} lines with {accept!r}")
                self._written.wait(min(left, 0.5))

    def failure(self, what: str) -> ProgramError:
        """An error that ends with the program's last lines."""
        return ProgramError(f"{self.name} {what}\n{self.tail()}")

    def tail(self) -> str:
        """Its command and last lines."""
        shown = "\n".join(f"  | {line}" for line in self.lines[-_TAIL:])
        return f"{' '.join(self.command)}\n{shown}"

    # --- with -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.stop()
            return
        error.add_note(f"{self.name}: {self.tail()}")
        try:
            self.stop()
        except ProgramError as second:
            error.add_note(str(second))

    async def __aenter__(self) -> Self:
        return await _in_thread(self.__enter__)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await _in_thread(lambda: self.__exit__(kind, error, trace))


async def _in_thread(function: Callable[[], T]) -> T:
    """Run what blocks to its end, even when the caller is cancelled: a process must be ended."""
    return await asyncio.shield(asyncio.to_thread(function))
