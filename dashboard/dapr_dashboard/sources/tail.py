"""The end of a log file that ``dapr run`` writes."""

from __future__ import annotations

import stat
from pathlib import Path

from dapr_dashboard.model import SourceError

MOST_BYTES = 256 << 10


def tail(path: str) -> str:
    """The last lines, at most ``MOST_BYTES``. Raises ``SourceError``.

    The path comes from a sidecar's metadata, which any local program may set: only files that
    look like those of ``dapr run`` are read.
    """
    try:
        file = Path(path).resolve(strict=True)
        if not is_log(file) or not stat.S_ISREG(file.stat().st_mode):
            raise SourceError(f"{path} is no log of dapr run: expected .dapr/logs/NAME.log")
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(size - MOST_BYTES, 0))
            content = opened.read(MOST_BYTES)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if size > MOST_BYTES:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace")


def is_log(file: Path) -> bool:
    """Whether ``dapr run`` writes files of this name."""
    return file.suffix == ".log" and file.parts[-3:-1] == (".dapr", "logs")
