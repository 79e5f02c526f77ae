"""Real servers and emulators for the tests of components, from the kit beside the repository.

The kit is ``../shared/backends/backends`` or what ``DAPR_TEST_BACKENDS`` names: a program that
installs one service by name and runs it. Without it, what is on the path is used where that takes
one command. Three things are enough for a test:

* ``require("kafka")`` skips the test, with the reason, when the service cannot be had here;
* ``with Backend("kafka") as broker`` starts one of the test's own: ``broker.port``,
  ``broker.address``, ``broker.facts["management"]``; ``kill()``, ``freeze()``, ``thaw()`` and
  ``restart()`` are the faults; data and port outlive them;
* ``backends.shared("kafka")``, with the session's fixture ``backends``, is one for all tests of
  this process that leave it running.

What has to be installed first is, once for all test processes, into the kit's own cache. Services
that take minutes to build are installed only when ``DAPR_TEST_HEAVY_BACKENDS`` is set.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest
from harness.programs import Program, ProgramError, accepts_connections, free_port

KIT = Path(
    os.environ.get("DAPR_TEST_BACKENDS")
    or Path(__file__).resolve().parents[3] / "shared" / "backends" / "backends"
)
_CACHE = Path(os.environ.get("BACKENDS_CACHE", "~/.cache/backends")).expanduser()
_HEAVY = frozenset({"consul", "vault", "jaeger", "otelcol", "opa", "nats-new"})
_INSTALL_SECONDS = 1800
_SBIN = ("/usr/sbin", "/sbin")
_STARTS = 3
_IN_USE = re.compile("already in use|EADDRINUSE", re.IGNORECASE)
# Without the kit: name → the command, with {port} and {dir}; its first word is on the path.
_ON_PATH: dict[str, tuple[str, ...]] = {
    "redis": ("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--dir", "{dir}"),
    "nats": ("nats-server", "-a", "127.0.0.1", "-p", "{port}", "-js", "-sd", "{dir}"),
    "mosquitto": ("mosquitto", "-p", "{port}"),
    "etcd": (
        *("etcd", "--data-dir", "{dir}", "--listen-client-urls", "http://127.0.0.1:{port}"),
        *("--advertise-client-urls", "http://127.0.0.1:{port}"),
        *("--listen-peer-urls", "http://127.0.0.1:0"),
    ),
}


def missing(name: str) -> str:
    """Why the service cannot be had here; empty when it can."""
    if KIT.is_file():
        if name in _HEAVY and not _is_installed(name) and not _takes_long_ones():
            return f"{name} takes minutes to build: set DAPR_TEST_HEAVY_BACKENDS to have it"
        return _failed_install(name)
    command = _ON_PATH.get(name)
    if command is None:
        return f"{name}: there is no kit of backends at {KIT}"
    return "" if _program(command[0]) else f"{command[0]} is not installed"


def require(name: str) -> None:
    """Skip the test when the service cannot be had; install it when it is not here yet."""
    if KIT.is_file() and not missing(name) and not _is_installed(name):
        _install(name)
    if reason := missing(name):
        pytest.skip(reason)


class Backend(Program):
    """One service on a port of its own. Its folder is removed when the object is gone."""

    def __init__(self, name: str, *, start_seconds: float = 90.0) -> None:
        require(name)
        self.port = free_port()
        self.facts: dict[str, str] = {}
        self.folder = Path(tempfile.mkdtemp(prefix=f"dapr-{name}-"))
        self.folder.chmod(0o755)  # some servers give their rights away before they look at it
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self._has_kit = KIT.is_file()
        super().__init__(
            self._command(name),
            name=name,
            exit_code=None,
            start_seconds=start_seconds,
            stop_seconds=30.0,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        if not self._has_kit:
            return accepts_connections(self.port)
        ready = next((line for line in self.stdout_lines if line.startswith("ready ")), None)
        if ready is None:
            return False
        self.facts = dict(word.split("=", 1) for word in ready.split()[2:])
        return True

    def wait_ready(self) -> None:
        """As any program; with other side ports when one that the kit found was taken meanwhile.

        The kit chooses those of consoles and peers by opening and closing them.
        """
        for _ in range(_STARTS - 1):
            try:
                super().wait_ready()
            except ProgramError:
                if self.process.poll() is None or not _IN_USE.search(self.log):
                    raise
                self._clear()
                self.start()
            else:
                return
        super().wait_ready()

    def kill(self) -> None:
        """As if its machine were gone."""
        for process in self._servers():
            _signal(process, signal.SIGKILL)
        if not self._has_kit:
            self.process.kill()
        self.wait_exit()

    def freeze(self) -> None:
        """Stop the server's processes where they are; connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """Start again after ``kill`` or ``stop``: the same port, the data it had written."""
        self._clear()
        self.start()
        self.wait_ready()

    def _clear(self) -> None:
        self.lines.clear()
        self.stdout_lines.clear()

    def stop(self) -> None:
        """End it; a server that was killed and not restarted is ended already."""
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        super().stop()

    def _command(self, name: str) -> list[str]:
        if self._has_kit:
            place = ("--port", str(self.port), "--dir", str(self.folder))
            return [sys.executable, "-u", str(KIT), "start", name, *place]
        program, *arguments = _ON_PATH[name]
        values = {"port": self.port, "dir": self.folder}
        return [_program(program), *(word.format(**values) for word in arguments)]

    def _servers(self) -> list[int]:
        """The processes that serve: the kit's program gives each a group of its own."""
        if not self._has_kit:
            return []
        return _children(self.process.pid)

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._servers():
            _signal(process, number)
            for child in _descendants(process):  # some, as PostgreSQL's, have groups of their own
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
        if not self._has_kit:
            self.signal(number)


class Backends:
    """Services that many tests share; each is started once, when first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Backend] = {}

    def shared(self, name: str) -> Backend:
        """The running service. Skips the test when it cannot be had."""
        if name not in self._running:
            self._running[name] = self._stack.enter_context(Backend(name))
        return self._running[name]

    def program(self, name: str) -> str:
        """The path of a server that a test starts in a way of its own, or the test is skipped."""
        require(name)
        if not (found := _program(name)):
            pytest.skip(f"{name} is not installed")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def running_backends() -> Iterator[Backends]:
    """The body of a session's fixture."""
    with Backends() as found:
        yield found


# --- installing ---------------------------------------------------------------------------------


def _program(name: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    return shutil.which(name, path=path) or ""


def _takes_long_ones() -> bool:
    return bool(os.environ.get("DAPR_TEST_HEAVY_BACKENDS"))


def _is_installed(name: str) -> bool:
    return any((_CACHE / "stamps").glob(f"{name}-" + "[0-9a-f]" * 16))


_failures: dict[str, str] = {}


def _failed_install(name: str) -> str:
    return _failures.get(name, "")


def _install(name: str) -> None:
    """Let the kit install it; one test process after the other. A failure is remembered."""
    # This may take minutes: the watch over tests that block must not end the run.
    faulthandler.cancel_dump_traceback_later()
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_installed(name):
            return
        done = subprocess.run(
            [sys.executable, str(KIT), "install", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word about why"])[-1]
        _failures[name] = f"{name} could not be installed: {last[:300]}"


def _children(process: int) -> list[int]:
    try:
        return [
            int(word)
            for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()
        ]
    except OSError:
        return []  # ended already


def _descendants(process: int) -> list[int]:
    found = _children(process)
    return found + [one for child in found for one in _descendants(child)]


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, number)
