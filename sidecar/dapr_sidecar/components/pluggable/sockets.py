"""The folder where pluggable components put their sockets."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SocketFolder:
    """``is_chosen``: somebody named it, so it is waited for even when it is not there yet."""

    path: Path
    is_chosen: bool = False

    @property
    def is_used(self) -> bool:
        """Whether there may be components at all."""
        return self.is_chosen or self.path.is_dir()

    def find(self, name: str) -> Path | None:
        """The socket whose name, without the extension, is this one; case does not matter."""
        try:
            entries = sorted(self.path.iterdir())
        except OSError:
            return None
        for entry in entries:
            if entry.stem.lower() == name.lower() and _is_socket(entry):
                return entry
        return None


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
