"""Writing files that only their owner may read, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_private(files: Mapping[Path, bytes]) -> None:
    """Replace files, in their order, with mode 0600. Raises ``OSError``.

    Everything is on disk before the first file is replaced: what can fail has failed by then, and
    readers of one file never see a part of it. A file that is replaced keeps its owner. Missing
    directories are made with mode 0700.
    """
    prepared: dict[Path, str] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            prepared[path] = _written(path, content)
        for path, temporary in list(prepared.items()):
            Path(temporary).replace(path)
            del prepared[path]
    finally:
        for temporary in prepared.values():
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
    for directory in {path.parent for path in files}:
        _sync(directory)


def _written(path: Path, content: bytes) -> str:
    """A new file beside ``path``, on disk; ``mkstemp`` gives it mode 0600."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        # Only root may give files away; everybody else owns both.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            before = path.stat()
            os.fchown(descriptor, before.st_uid, before.st_gid)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return temporary


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
