"""A machine with no route out: a network namespace whose only interface is the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

_ALONE = "unshare --net: a machine with no route out"
# The loopback of a new network namespace is down; then a program takes this one's place.
_ENTER = """
import fcntl, os, socket, struct, sys
with socket.socket() as probe:
    request = struct.pack("16sh", b"lo", 1 | 64)  # IFF_UP | IFF_RUNNING
    fcntl.ioctl(probe, 0x8914, request)  # SIOCSIFFLAGS
os.execvp(sys.argv[1], sys.argv[1:])
"""


def words_without_network(*namespaces: str) -> list[str]:
    """Words before a command; ``namespaces`` are further ones. Skips where it cannot be had."""
    unshare = shutil.which("unshare")
    if not unshare or os.geteuid() != 0:
        pytest.skip(f"not here: root and {_ALONE}")
    words = [unshare, "--net", *namespaces, sys.executable, "-c", _ENTER]
    if subprocess.run([*words, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip(f"not here: {_ALONE}")
    return words


def words_beside(pid: int) -> list[str]:
    """Words before a command that runs it in the network of a process."""
    return ["nsenter", "--target", str(pid), "--net"]
