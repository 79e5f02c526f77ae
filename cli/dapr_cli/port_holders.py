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
    """``pid 12: daprd …``; empty when it cannot be told: not Linux, or somebody else's process.

    Programs that listen on different addresses of one port are all named, one for each socket:
    which of them is in the way depends on the address that is wanted.
    """
    found = []
    sockets = _sockets(port)
    for pid in sorted(int(one.name) for one in _PROC.iterdir() if one.name.isdigit()):
        if not sockets:
            break
        if own := sockets & _open_sockets(pid):
            sockets -= own  # the workers of a server share it: the first is the server
            found.append(_shown(pid))
    return ", ".join(found)


def _shown(pid: int) -> str:
    words = " ".join(arguments_of(pid)).strip()
    shown = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
    return f"pid {pid}: {shown}" if shown else f"pid {pid}"


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


def _open_sockets(pid: int) -> set[str]:
    found = set()
    try:
        for link in (_PROC / str(pid) / "fd").iterdir():
            try:
                found.add(os.readlink(link))  # noqa: PTH115 - no path
            except OSError:
                continue  # closed meanwhile
    except OSError:
        return found  # ended meanwhile, or another user's
    return found
