"""Where a started process writes to: the terminal, a log file, or both with a prefix."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import IO

import click

from dapr_cli.console import mute
from dapr_cli.settings import RunSettings

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red")
_CHUNK_BYTES = 64 << 10
_LONGEST_LINE_BYTES = 64 << 10
_LAST_WORDS_SECONDS = 1.0


class Output:
    """The standard output and error of one process.

    Without file and prefix the process writes to the terminal itself. ``prefix`` stands before
    every line on the terminal; ``file`` receives the lines as they are.
    """

    def __init__(self, *, file: Path | None = None, prefix: str | None = None) -> None:
        self.file = file
        self._prefix = None if prefix is None else prefix.encode()
        self._log: IO[bytes] | None = None
        self._pending = b""
        self._pump: asyncio.Task[None] | None = None
        self._reading: asyncio.ReadTransport | None = None

    async def open(self) -> IO[bytes] | None:
        """What the process is to write to, which the caller closes after the start.

        ``None`` is the terminal. Raises ``OSError``.
        """
        log = self._opened()
        if self._prefix is None:
            return log
        self._log = log
        # A pipe of our own: asyncio's would make waiting for the process wait for whoever
        # inherited its output, too.
        reading, writing = os.pipe()
        stream = asyncio.StreamReader(_CHUNK_BYTES)
        self._reading, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb", 0)
        )
        self._pump = asyncio.create_task(self._pass_on(stream))
        return os.fdopen(writing, "wb", 0)

    def begin(self) -> None:
        """Get ready for ``write``, for what is no process. Raises ``OSError``."""
        self._log = self._opened()

    def write(self, chunk: bytes) -> None:
        """Pass something on; a line is shown once it is whole. Raises ``OSError``."""
        if self._log is not None:
            self._log.write(chunk)
        if self._prefix is None:
            return
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        if len(self._pending) > _LONGEST_LINE_BYTES:
            lines, self._pending = [*lines, self._pending], b""
        self._show(lines)

    async def close(self) -> None:
        """Show what is left and let go; safe to call twice."""
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=_LAST_WORDS_SECONDS)
            self._pump.cancel()
            await asyncio.wait({self._pump})
            self._pump = None
        self._show_rest()
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _opened(self) -> IO[bytes] | None:
        if self.file is None:
            return None
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return self.file.open("ab", buffering=0)

    async def _pass_on(self, stream: asyncio.StreamReader) -> None:
        try:
            while chunk := await stream.read(_CHUNK_BYTES):
                self.write(chunk)
        finally:
            self._show_rest()

    def _show_rest(self) -> None:
        rest, self._pending = self._pending, b""
        self._show([rest] if rest else [])

    def _show(self, lines: list[bytes]) -> None:
        if lines:
            _write(b"".join(b"%s%s\n" % (self._prefix, line) for line in lines))


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError:
        mute(sys.stdout)


def prefix(text: str, number: int) -> str:
    """``== APP - a == ``, coloured by number when the output is a terminal."""
    shown = f"== {text} == "
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return shown
    return click.style(shown, fg=_COLORS[number % len(_COLORS)])


def log_stamp(now: datetime) -> str:
    """The time in a log file's name."""
    return now.strftime("%Y%m%d%H%M%S")


def destined(destination: str, file: Path, shown_prefix: str) -> Output:
    """The output for ``console``, ``file`` or ``fileAndConsole``."""
    return Output(
        file=None if destination == "console" else file,
        prefix=None if destination == "file" else shown_prefix,
    )


def of_app(settings: RunSettings, number: int, stamp: str) -> tuple[Output, Output]:
    """Where an app of a run file, the ``number``-th, and its sidecar write to."""
    assert settings.app_dir is not None, "a run file names it"
    logs, app_id = settings.app_dir / ".dapr" / "logs", settings.app_id
    return (
        destined(
            settings.app_log_destination,
            logs / f"{app_id}_app_{stamp}.log",
            prefix(f"APP - {app_id}", number),
        ),
        destined(
            settings.daprd_log_destination,
            logs / f"{app_id}_daprd_{stamp}.log",
            prefix(f"DAPR - {app_id}", number),
        ),
    )
