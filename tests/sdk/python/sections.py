"""Runs the parts of a client program one by one; a part that raises does not take the others."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

_SECTIONS: list[tuple[str, Callable[..., Any]]] = []


def section(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a part under its name; what it returns is reported."""
    _SECTIONS.append((function.__name__, function))
    return function


def run(*arguments: Any) -> None:
    """Run them in order and print one JSON object."""
    seen: dict[str, Any] = {}
    for name, function in _SECTIONS:
        try:
            seen[name] = function(*arguments)
        except Exception:  # noqa: BLE001 - the test shows it
            seen[name] = {"raised": traceback.format_exc()}
    sys.stdout.write(json.dumps(seen, default=dict) + "\n")
    sys.stdout.flush()
