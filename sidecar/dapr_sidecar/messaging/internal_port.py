"""The internal gRPC port that a self-hosted sidecar finds again after a restart."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

_LOWEST, _HIGHEST = 47300, 65535


def stable_port(app_id: str, directory: str, uid: int, hostname: str) -> int:
    """The port of these facts."""
    text = f"{app_id}|{directory}|{uid}|{hostname}"
    digest = hashlib.sha256(text.encode()).digest()
    return _LOWEST + (digest[0] | digest[1] << 8) % (_HIGHEST - _LOWEST)


def choose_port(app_id: str, hostname: str) -> int:
    """The stable port when it is free on this machine, otherwise 0 (any free port)."""
    port = stable_port(app_id, str(Path.cwd()), os.getuid(), hostname)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
