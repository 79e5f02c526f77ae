"""What a sidecar wrote, for eyes: its log is one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

_ALWAYS_THERE = frozenset(("app_id", "instance", "level", "msg", "scope", "time", "type", "ver"))
_CLOCK = slice(11, 23)  # 22:20:43.086 of 2026-11-26T22:20:43.086474895Z


def readable(lines: Iterable[str]) -> str:
    """Time, level, scope and message of each; what is no log line stays as it is."""
    return "\n".join(_readable(line) for line in lines)


def _readable(line: str) -> str:
    try:
        record: Any = json.loads(line)
        time, level, message = record["time"], record["level"], record["msg"]
    except (ValueError, TypeError, KeyError):
        return line
    rest = "".join(f" {k}={v}" for k, v in record.items() if k not in _ALWAYS_THERE)
    return f"{time[_CLOCK]} {level:<7} {record.get('scope', '')}: {message}{rest}"
