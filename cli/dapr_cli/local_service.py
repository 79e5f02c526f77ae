"""A service of this machine that ``dapr run`` keeps up: started whenever nobody listens there.

It belongs to no ``dapr run``, so that several share one and it outlives each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dapr_cli.console import Console
from dapr_cli.errors import CliError, reason
from dapr_cli.install import Install
from dapr_cli.ports import is_free
from dapr_cli.processes import pids_of

HOST = "127.0.0.1"
_LOOK_SECONDS = 5.0
_CONNECT_SECONDS = 1.0
_READY_SECONDS = 60.0
_READY_POLL_SECONDS = 0.05


class LocalService:
    """``name`` is the program's in ``bin``; ``flags`` are asked for at every start."""

    def __init__(
        self,
        install: Install,
        console: Console,
        *,
        name: str,
        port: int,
        flags: Callable[[], Sequence[str]],
        without: str,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._program = program(install, name)
        self._title = name.capitalize()
        self.log = install.root / "logs" / f"{name}.log"
        self._console = console
        self._port = port
        self._flags = flags
        self._environment = environment
        self._without = without
        """What there is not while it does not run, such as ``there are no actors``."""
        self._pid = 0
        self._told = False

    async def keep(self) -> None:
        """Look after it until cancelled; it goes on by itself afterwards."""
        while True:
            self._collect()
            if not self._pid and not await asyncio.to_thread(listens, self._port):
                self._start()
            await asyncio.sleep(_LOOK_SECONDS)

    async def is_up(self) -> None:
        """Wait until it, or another one, listens. Raises ``CliError``."""
        until = asyncio.get_running_loop().time() + _READY_SECONDS
        while not await asyncio.to_thread(listens, self._port):
            if self._told or asyncio.get_running_loop().time() > until:
                raise CliError(
                    f"{self._title} does not listen on port {self._port}: {self._without}",
                    f"{self.log} says why; 'dapr check' looks for what is wrong.",
                )
            await asyncio.sleep(_READY_POLL_SECONDS)
            self._collect()

    def _start(self) -> None:
        try:
            self.log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._pid = os.posix_spawn(
                self._program,
                [str(self._program), *self._flags()],
                {**os.environ, **self._environment},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (
                        os.POSIX_SPAWN_OPEN,
                        1,
                        str(self.log),
                        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                        0o644,
                    ),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        except OSError as error:
            self._tell(f"{self._title} cannot be started, {self._without}: {reason(error)}")

    def _collect(self) -> None:
        """What became of the one started here."""
        if not self._pid:
            return
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if not pid:
                return
            # Started by two at once, one of them gives way to the other.
            if os.waitstatus_to_exitcode(status) and not listens(self._port):
                self._tell(f"{self._title} has ended with an error, {self.log} says why")
        self._pid = 0

    def _tell(self, warning: str) -> None:
        if not self._told:  # it is tried again every few seconds
            self._console.warning(warning)
        self._told = True


def program(install: Install, name: str) -> Path:
    """The installed one, else the one beside this Python."""
    installed = install.bin / name
    return installed if installed.exists() else Path(sys.executable).with_name(f"dapr-{name}")


def stop(install: Install, name: str) -> bool:
    """End the one that was started from this installation. Returns whether there was one."""
    pids = pids_of(install.bin / name)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    return bool(pids)


def side_ports(health: int, metrics: int) -> list[str]:
    """Where it tells of itself: on these ports, or on any while somebody else has them."""
    return [
        f"--healthz-port={health if is_free(health) else 0}",
        f"--healthz-listen-address={HOST}",
        f"--metrics-port={metrics if is_free(metrics) else 0}",
        f"--metrics-listen-address={HOST}",
    ]


def listens(port: int) -> bool:
    """Whether somebody answers on a port of this machine."""
    try:
        with socket.create_connection((HOST, port), _CONNECT_SECONDS):
            return True
    except OSError:
        return False
