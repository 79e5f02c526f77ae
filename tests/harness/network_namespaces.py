"""Machines made of the kernel's namespaces: network, processes, host name and disk of their own.

Nothing outlives the test: a namespace goes with its last process, a pair of interfaces with a
namespace, and the first process of each machine with the test's own, however that ends.
Addresses are those of the machines' own network: they clash with nobody's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from harness.programs import Program

P = ParamSpec("P")
T = TypeVar("T")

_TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount")
_NEW = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--ipc", "--pid", "--mount")
_NEW_INIT = (*_NEW, "--fork", "--kill-child", "--mount-proc")
_CLONE_NEWNET = 0x40000000
_THREADS = 8
_SETUP_SECONDS = 30.0


def what_is_missing() -> str:
    """Why there can be no machines here; empty when there can."""
    if absent := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"not here: {', '.join(absent)} (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    script = "ip link add name b type bridge && ip link add name v type veth peer name w"
    tried = subprocess.run(
        [*_NEW_INIT, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    return f"no network namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """Off at first. What it writes to ``etc`` and ``var/lib`` stays while it is off.

    Everything else of the file system is the host's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.disk = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        shutil.copytree("/etc", self.disk / "etc", symlinks=True)
        (self.disk / "var" / "lib").mkdir(parents=True)
        (self.disk / "home").mkdir()
        self._programs: list[Program] = []
        self._init: subprocess.Popen[str] | None = None
        self._pid = 0
        self._threads: ThreadPoolExecutor | None = None

    # --- power --------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        return self._init is not None

    @property
    def pid(self) -> int:
        """Its first process, as the host counts."""
        assert self._pid, f"{self.name} is off"
        return self._pid

    def power_on(self) -> None:
        """Without any program but the first."""
        disk = shlex.quote(str(self.disk))
        script = (
            f"set -e; mount --bind {disk}/etc /etc; mount --bind {disk}/var/lib /var/lib; "
            f"hostname {self.name}; ip link set lo up; echo on; exec sleep infinity"
        )
        self._init = subprocess.Popen(
            [*_NEW_INIT, "sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self._init.stdout is not None
        said = self._init.stdout.readline()
        assert said == "on\n", f"{self.name} does not start: {said}"
        outer = self._init.pid
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text(encoding="ascii")
        self._pid = int(children)
        self._threads = ThreadPoolExecutor(_THREADS, self.name, _enter_network, (self._pid,))

    def power_off(self) -> None:
        """Every process is gone at once; nobody is told."""
        if self._init is None:
            return
        self._init.kill()  # the machine's first process goes with it, and all others with that
        self._init.wait()
        assert self._init.stdout is not None
        self._init.stdout.close()
        for program in self._programs:
            program.exit_code = None
            program.wait_exit()
        self._programs.clear()
        assert self._threads is not None
        self._threads.shutdown()
        self._init, self._threads, self._pid = None, None, 0

    def remove(self) -> None:
        """Off, and the disk thrown away."""
        self.power_off()
        shutil.rmtree(self.disk)

    # --- what happens on it -------------------------------------------------------------------

    def do(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function whose connections are the machine's: 127.0.0.1 is its own."""
        return self.submit(function, *arguments, **named).result()

    def submit(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """``do`` in the background."""
        assert self._threads is not None, f"{self.name} is off"
        return self._threads.submit(function, *arguments, **named)

    def shell(self, script: str) -> str:
        """What a script writes to standard output; its failure is an ``AssertionError``."""
        done = subprocess.run(
            [*_enter(self.pid), "sh", "-ec", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SETUP_SECONDS,
        )
        assert done.returncode == 0, f"{self.name}: {script}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        is_ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program without waiting for it; ``is_ready`` is called as by ``do``."""
        program = _Inside(self, name, command, is_ready, env or {})
        program.start()
        self._programs.append(program)
        return program


class _Inside(Program):
    def __init__(
        self,
        machine: Machine,
        name: str,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        env: Mapping[str, str],
    ) -> None:
        self._machine, self._is_ready = machine, is_ready
        super().__init__(
            [*_enter(machine.pid), *command],
            name=f"{machine.name} {name}",
            env={"HOME": str(machine.disk / "home"), "PYTHONUNBUFFERED": "1", **env},
            cwd=machine.disk / "home",
            exit_code=None,
        )

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._machine.do(self._is_ready)
        return False


class Network:
    """A bridge that machines are plugged into; off and gone at the end of its block."""

    def __init__(self) -> None:
        self._switch = Machine("switch")
        self._machines: list[Machine] = []

    def __enter__(self) -> Self:
        self._switch.power_on()
        self._switch.shell("ip link add name bridge type bridge && ip link set bridge up")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in [*self._machines, self._switch]:
            machine.remove()

    def machine(self, name: str) -> Machine:
        """A new one, off and not plugged in."""
        made = Machine(name)
        self._machines.append(made)
        return made

    def plug_in(self, machine: Machine, address: str) -> None:
        """Its ``eth0`` with an address of a /24 network; the machine is on."""
        # That of a machine that was switched off may not have been cleared away yet.
        self._switch.shell(f"ip link del {machine.name} 2>/dev/null || true")
        _ip(
            f"link add name {machine.name} netns {self._switch.pid} type veth "
            f"peer name eth0 netns {machine.pid}"
        )
        self._switch.shell(f"ip link set {machine.name} master bridge up")
        machine.shell(f"ip addr add {address}/24 dev eth0 && ip link set eth0 up")

    def unplug(self, machine: Machine) -> None:
        """As if its cable was pulled: not even a reset leaves the machine any more."""
        self._switch.shell(f"ip link set {machine.name} down")


def _enter(pid: int) -> list[str]:
    return ["nsenter", f"--target={pid}", "--net", "--uts", "--ipc", "--pid", "--mount"]


def _ip(arguments: str) -> None:
    done = subprocess.run(
        ["ip", *shlex.split(arguments)], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, f"ip {arguments}: {done.stderr}"


def _enter_network(pid: int) -> None:
    """The calling thread's sockets are those of a process from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to the network of {pid}")
