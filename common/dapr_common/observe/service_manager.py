"""What systemd learns from a program it has started: that it is ready, that it ends, its log.

A program that something else has started tells nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import IO

_LOG = logging.getLogger("dapr.systemd")
_SEND_SECONDS = 1.0
_PRIORITIES = {
    logging.DEBUG: "<7>",
    logging.INFO: "<6>",
    logging.WARNING: "<4>",
    logging.ERROR: "<3>",
    logging.CRITICAL: "<2>",
}


def ready() -> None:
    """What is to be started after this program may start now (``Type=notify``)."""
    _tell("READY=1")


def stopping() -> None:
    """The program ends, whoever asked it to."""
    _tell("STOPPING=1")


def _tell(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract name
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto(state.encode(), address)
    except OSError as error:
        _LOG.warning("systemd cannot be told %s: %s", state, error)


def goes_to_journal(stream: IO[str]) -> bool:
    """Whether what is written to it is read by systemd's journal, and not by another program."""
    with contextlib.suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


class JournalFormatter(logging.Formatter):
    """Says before each line how bad it is; the journal takes that off and keeps it as priority."""

    def __init__(self, line: logging.Formatter) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        return _PRIORITIES.get(record.levelno, "<6>") + self._line.format(record)
