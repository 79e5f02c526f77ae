"""The ``daprd`` processes of this machine, whoever started them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_PROC = Path("/proc")
_PS = ("ps", "-axww", "-o", "pid=,ppid=,etime=,command=")
_PS_SECONDS = 10
_ETIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; ``arguments`` start with what was executed."""

    pid: int
    parent: int
    arguments: tuple[str, ...]
    started: datetime


def daprd_processes() -> list[Process]:
    """Every ``daprd`` that can be seen, the oldest first."""
    found = _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()
    return sorted(found, key=lambda process: (process.started, process.pid))


def pids_of(program: Path) -> list[int]:
    """The processes that were started as this file, also by an interpreter."""
    if not (_PROC / "self" / "stat").exists():
        done = subprocess.run(  # noqa: S603 - constant words
            _PS, capture_output=True, text=True, timeout=_PS_SECONDS, check=True
        )
        lines = (line.split(maxsplit=3) for line in done.stdout.splitlines())
        return [int(line[0]) for line in lines if str(program) in line[-1].split()[:2]]
    return [
        int(entry.name)
        for entry in _PROC.iterdir()
        if entry.name.isdigit() and str(program) in _arguments(entry)[:2]
    ]


def arguments_of(pid: int) -> tuple[str, ...]:
    """What a process was started with; nothing when that cannot be told."""
    return _arguments(_PROC / str(pid))


def is_daprd(name: str, arguments: Sequence[str]) -> bool:
    """Whether these are of a ``daprd``: the program itself, or Python running it.

    ``name`` is the kernel's name of the process, "" where that is not known.
    """
    if not arguments:
        return False
    if name == "daprd" or _base(arguments[0]) in ("daprd", "daprd.exe"):
        return True
    if "python" not in _base(arguments[0]).lower():
        return False
    for position, argument in enumerate(arguments[1:], start=1):
        if argument == "-m":
            return arguments[position + 1 : position + 2] in (["dapr_sidecar"], ("dapr_sidecar",))
        if not argument.startswith("-"):
            return _base(argument) == "daprd" or argument.endswith("dapr_sidecar/__main__.py")
    return False


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not (_PROC / "self" / "stat").exists():
        return True
    stat = _stat(_PROC / str(pid))  # nothing: it was collected this very moment
    return stat is not None and stat[0] not in "ZX"


def group_is_alive(group: int) -> bool:
    """Whether a process group has a member that has not ended."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # macOS says so of groups that only hold ended processes, too
    if not (_PROC / "self" / "stat").exists():
        return True
    # Where nobody collects ended processes (a container without init) they stay in the group.
    members = (_stat(entry) for entry in _PROC.iterdir() if entry.name.isdigit())
    return any(s is not None and int(s[2]) == group and s[0] not in "ZX" for s in members)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _from_proc() -> list[Process]:
    boot = _boot_time()
    found = (_read(entry, boot) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [process for process in found if process is not None]


def _read(entry: Path, boot: float) -> Process | None:
    try:
        name = (entry / "comm").read_text(errors="replace").rstrip("\n")
        if name != "daprd" and "python" not in name.lower():
            return None
    except OSError:
        return None  # ended meanwhile
    arguments = _arguments(entry)
    if not is_daprd(name, arguments) or (stat := _stat(entry)) is None:
        return None
    started = boot + int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return Process(int(entry.name), int(stat[1]), arguments, _local(started))


def _arguments(entry: Path) -> tuple[str, ...]:
    """Nothing for a process that has ended."""
    try:
        raw = (entry / "cmdline").read_bytes()
    except OSError:
        return ()
    # Every word ends with a NUL; the last one may be empty.
    return tuple(raw.decode(errors="replace").removesuffix("\0").split("\0")) if raw else ()


def _stat(entry: Path) -> list[str] | None:
    """The fields after the name: state, parent, group …; the name may hold anything."""
    try:
        return (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _boot_time() -> float:
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return time.time()


def _from_ps() -> list[Process]:
    """Systems without ``/proc``: arguments are split at blanks, good enough for flags."""
    done = subprocess.run(  # noqa: S603 - constant words
        _PS, capture_output=True, text=True, timeout=_PS_SECONDS, check=True
    )
    return parse_ps(done.stdout, time.time())


def parse_ps(output: str, now: float) -> list[Process]:
    """Lines of pid, parent, elapsed time and command."""
    found = []
    for line in output.splitlines():
        pid, parent, elapsed, *arguments = line.split()
        if is_daprd("", arguments):
            started = _local(now - _seconds(elapsed))
            found.append(Process(int(pid), int(parent), tuple(arguments), started))
    return found


def _local(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC).astimezone()


def _seconds(elapsed: str) -> int:
    match = _ETIME.fullmatch(elapsed)
    days, hours, minutes, seconds = (
        (int(part or 0) for part in match.groups()) if match else [0] * 4
    )
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
