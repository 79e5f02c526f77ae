"""The end of a log file that ``dapr run`` writes, and what is added to it."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

from dapr_dashboard.model import SourceError

MOST_BYTES = 256 << 10
_MOST_LINE_BYTES = 64 << 10
_LOOK_SECONDS = 0.5


def tail(path: str) -> str:
    """The last lines, at most ``MOST_BYTES``. Raises ``SourceError``."""
    return _end(path)[0].decode("utf-8", "replace")


async def file_lines(path: str, last: int, *, follow: bool) -> AsyncGenerator[str, None]:
    """The last lines, and with ``follow`` those that are written from now on, without an end.

    Raises ``SourceError``, also when the file is gone.
    """
    content, position = await asyncio.to_thread(_end, path)
    *lines, rest = content.split(b"\n")
    if rest and not follow:
        lines.append(rest)
    for line in lines[-last:]:
        yield _text(line)
    while follow:
        await asyncio.sleep(_LOOK_SECONDS)
        piece, position = await asyncio.to_thread(_added, path, position)
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _MOST_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield _text(line)


def _text(line: bytes) -> str:
    return line[:_MOST_LINE_BYTES].decode("utf-8", "replace").rstrip("\r")


def _end(path: str) -> tuple[bytes, int]:
    """Whole lines from the end of a file, and where it ends."""
    content, end = _read(path, -1)
    if end > MOST_BYTES:
        content = content.partition(b"\n")[2]
    return content, end


def _added(path: str, position: int) -> tuple[bytes, int]:
    """What stands behind a position; of a file that was begun anew all of it."""
    return _read(path, position)


def _read(path: str, position: int) -> tuple[bytes, int]:
    """At most ``MOST_BYTES`` from a position, -1 for the last ones; and where they end.

    The path comes from a sidecar's metadata, which any local program may set: only files that
    look like those of ``dapr run`` are read.
    """
    try:
        file = Path(path).resolve(strict=True)
        if not is_log(file) or not stat.S_ISREG(file.stat().st_mode):
            raise SourceError(f"{path} is no log of dapr run: expected .dapr/logs/NAME.log")
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            if position < 0:
                position = max(size - MOST_BYTES, 0)
            start = opened.seek(position if position <= size else 0)
            content = opened.read(MOST_BYTES)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return content, start + len(content)


def is_log(file: Path) -> bool:
    """Whether ``dapr run`` writes files of this name."""
    return file.suffix == ".log" and file.parts[-3:-1] == (".dapr", "logs")
