"""Why a container ends, where the kubelet looks for it: ``kubectl describe pod`` shows it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

FILE = Path("/dev/termination-log")
"""Kubernetes' default ``terminationMessagePath``; only containers of a pod have it."""
_MOST = 4096  # of which the kubelet reads no more


class LastWords(logging.Handler):
    """Leaves the newest fatal message in a file that is there already."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.CRITICAL)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - whoever ends must not fail at saying why
            text = str(record.msg)
        if record.exc_info and (error := record.exc_info[1]) is not None:
            text = f"{text}: {type(error).__name__}: {error}"
        leave(text, self._file)


def leave(text: str, file: Path | None = None) -> None:
    """Write it, if there is a file for it; the log says it all, whatever becomes of this."""
    with contextlib.suppress(OSError), (FILE if file is None else file).open("r+b") as opened:
        opened.truncate()
        opened.write(text.encode("utf-8", "backslashreplace")[:_MOST])
