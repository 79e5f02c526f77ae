"""Lines of logs: how bad they are and when they were written, as far as they say. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_HEAD = 400  # level and time stand at the beginning, also in lines of megabytes
_LEVEL = re.compile(r"""\blevel["']?\s?[=:]\s?["']?([a-z]{1,10})""", re.IGNORECASE)
_TIME = re.compile(
    r"""(?:^|\btime["']?\s?[=:]\s?["']?)"""
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS = {"warn": "warning", "err": "error", "critical": "fatal", "panic": "fatal"}
_KNOWN = frozenset({"debug", "info", "warning", "error", "fatal"})


def level(line: str) -> str:
    """``debug``, ``info``, ``warning``, ``error`` or ``fatal``; of a line without one, a guess."""
    if found := _LEVEL.search(line[:_HEAD]):
        word = found[1].lower()
        word = _LEVELS.get(word, word)
        if word in _KNOWN:
            return word
    return "error" if "error" in line[:40].lower() else "info"


def nanoseconds(line: str) -> int:
    """When the line says it was written, since 1970; 0 when it does not say."""
    if not (found := _TIME.search(line[:_HEAD])):
        return 0
    try:
        moment = datetime.fromisoformat(f"{found[1]}{found[3] or 'Z'}")
    except ValueError:
        return 0
    whole = int((moment.astimezone(UTC) - _EPOCH).total_seconds()) * 1_000_000_000
    return whole + int((found[2] or ".0")[1:].ljust(9, "0"))
