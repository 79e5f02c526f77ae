"""Who listens on a TCP port of this machine, as far as the kernel tells this user."""

from __future__ import annotations

import os
from pathlib import Path

from dapr_cli.processes import arguments_of

_PROC = Path("/proc")
_TABLES = ("net/tcp", "net/tcp6")
_LISTENS = "0A"
_LONGEST = 80


def holder(port: int) -> str:
    """``daprd (pid 12)``; empty when it cannot be told: not Linux, or somebody else's process."""
    sockets = _sockets(port)
    for entry in _PROC.iterdir() if sockets else ():
        if entry.name.isdigit() and _has_one(entry, sockets):
            words = " ".join(arguments_of(int(entry.name)))
            shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
            return f"pid {entry.name}: {shown}" if shown else f"pid {entry.name}"
    return ""


def _sockets(port: int) -> set[str]:
    """The sockets that listen there, as links of file descriptors name them."""
    found = set()
    for table in _TABLES:
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found


def _has_one(entry: Path, sockets: set[str]) -> bool:
    try:
        for link in (entry / "fd").iterdir():
            try:
                if os.readlink(link) in sockets:  # noqa: PTH115 - no path
                    return True
            except OSError:
                continue  # closed meanwhile
    except OSError:
        return False  # ended meanwhile, or another user's
    return False
