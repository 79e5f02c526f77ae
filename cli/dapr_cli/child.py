"""One process started by ``dapr run``: a group of its own, its output, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from dapr_cli.errors import CliError, reason
from dapr_cli.output import Output
from dapr_cli.processes import group_is_alive

_KILLED_SECONDS = 5.0
_GROUP_POLL_SECONDS = 0.05


class Child:
    """Start it once; ``stop`` may be called at any time and more than once."""

    def __init__(self, what: str, command: Sequence[str], output: Output) -> None:
        self.what = what
        self.output = output
        self._command = list(command)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def title(self) -> str:
        """``what`` at the beginning of a sentence."""
        return self.what[:1].upper() + self.what[1:]

    @property
    def pid(self) -> int:
        """0 before the start."""
        return self._process.pid if self._process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs, and before the start; negative for a signal."""
        return self._process.returncode if self._process is not None else None

    @property
    def failed(self) -> bool:
        """Whether it ended by itself, and not well."""
        return not self._stopping and self.exit_code not in (None, 0)

    async def start(self, environment: Mapping[str, str], directory: Path | None = None) -> None:
        """Start it. Raises ``CliError`` when that is not possible."""
        try:
            target = await self.output.open()
            with target or contextlib.nullcontext():
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, **environment},
                    cwd=directory,
                    stdout=target,
                    stderr=target,
                    process_group=0,
                )
        except OSError as error:
            await self.output.close()
            raise CliError(f"{self.what} cannot be started: {reason(error)}") from error

    async def wait(self) -> None:
        """Wait for its end."""
        assert self._process is not None, "start() comes first"
        await self._process.wait()

    async def stop(self, seconds: float, hurry: asyncio.Event) -> bool:
        """SIGTERM to its group, SIGKILL after ``seconds`` or once ``hurry`` is set.

        Returns whether it ended without being killed.
        """
        if self._process is None:
            return True
        self._stopping = self._stopping or self.exit_code is None
        self._signal(signal.SIGTERM)
        ended = asyncio.create_task(self._group_ended())
        hurried = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait({ended, hurried}, timeout=seconds, return_when="FIRST_COMPLETED")
            if ended.done():
                return True
            self._signal(signal.SIGKILL)
            await asyncio.wait({ended}, timeout=_KILLED_SECONDS)
            return False
        finally:
            ended.cancel()
            hurried.cancel()
            await self.output.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _group_ended(self) -> None:
        await self.wait()
        while group_is_alive(self.pid):  # noqa: ASYNC110 - nothing tells of a group's end
            await asyncio.sleep(_GROUP_POLL_SECONDS)


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
