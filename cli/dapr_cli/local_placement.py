"""Placement on this machine: there as soon as an app runs, gone a while after the last one.

Nothing is left behind that a reboot would end or that somebody would have to stop, and several
``dapr run`` share one. It belongs to none of them, so that it outlives each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from dapr_cli.console import Console
from dapr_cli.daprd_command import PLACEMENT_PORT, placement_address, wants_mtls
from dapr_cli.install import Install
from dapr_cli.ports import is_free
from dapr_cli.processes import pids_of
from dapr_cli.settings import RunSettings

_HEALTH_PORT, _METRICS_PORT = 58080, 59090  # where the official CLI publishes them
_IDLE = "30s"
_LOOK_SECONDS = 5.0
_CONNECT_SECONDS = 1.0
_HOST = "127.0.0.1"


def is_wanted(settings: RunSettings) -> bool:
    """Whether the sidecar is to find placement at the place that nobody had to name.

    With mutual TLS it would need certificates that only its user can point at.
    """
    ours = placement_address(settings) == f"localhost:{PLACEMENT_PORT}"
    return ours and not (settings.config and wants_mtls(Path(settings.config)))


@asynccontextmanager
async def local_placement(
    install: Install, apps: Iterable[RunSettings], console: Console
) -> AsyncIterator[None]:
    """Placement is kept running meanwhile, when one of the apps uses the local one."""
    if not any(is_wanted(settings) for settings in apps):
        yield
        return
    keeping = asyncio.create_task(LocalPlacement(install, console).keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


class LocalPlacement:
    """Started whenever nobody listens on its port."""

    def __init__(
        self,
        install: Install,
        console: Console,
        *,
        port: int = PLACEMENT_PORT,
        idle: str = _IDLE,
    ) -> None:
        self._idle = idle
        self._install = install
        self._console = console
        self._port = port
        self._pid = 0
        self._told = False

    async def keep(self) -> None:
        """Look after it until cancelled; it goes on by itself afterwards."""
        while True:
            self._collect()
            if not self._pid and not await asyncio.to_thread(_listens, self._port):
                self._start()
            await asyncio.sleep(_LOOK_SECONDS)

    def _start(self) -> None:
        log = self._install.root / "logs" / "placement.log"
        program = find_program(self._install)
        try:
            log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._pid = os.posix_spawn(
                program,
                [str(program), *_flags(self._port, self._idle)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (
                        os.POSIX_SPAWN_OPEN,
                        1,
                        str(log),
                        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                        0o644,
                    ),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        except OSError as error:
            self._tell(f"Placement cannot be started, there are no actors: {error}")

    def _collect(self) -> None:
        """What became of the one started here."""
        if not self._pid:
            return
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if not pid:
                return
            if os.waitstatus_to_exitcode(status):
                log = self._install.root / "logs" / "placement.log"
                self._tell(f"Placement has ended with an error, {log} says why")
        self._pid = 0

    def _tell(self, warning: str) -> None:
        if not self._told:  # it is tried again every few seconds
            self._console.warning(warning)
        self._told = True


def find_program(install: Install) -> Path:
    """The installed one, else the one beside this Python."""
    if install.placement.exists():
        return install.placement
    return Path(sys.executable).with_name("dapr-placement")


def stop(install: Install) -> bool:
    """End the one that was started from this installation. Returns whether there was one."""
    pids = pids_of(install.placement)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    return bool(pids)


def _flags(port: int, idle: str) -> list[str]:
    health = _HEALTH_PORT if is_free(_HEALTH_PORT) else 0
    metrics = _METRICS_PORT if is_free(_METRICS_PORT) else 0
    return [
        f"--port={port}",
        f"--listen-address={_HOST}",
        f"--healthz-port={health}",
        f"--healthz-listen-address={_HOST}",
        f"--metrics-port={metrics}",
        f"--metrics-listen-address={_HOST}",
        f"--exit-when-idle={idle}",
    ]


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), _CONNECT_SECONDS):
            return True
    except OSError:
        return False
