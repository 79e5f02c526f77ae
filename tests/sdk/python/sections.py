"""Runs the parts of a client program one by one; a part that raises does not take the others."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

_SECONDS = 40
_SECTIONS: list[tuple[str, Callable[..., Any]]] = []


def section(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a part under its name; what it returns is reported."""
    _SECTIONS.append((function.__name__, function))
    return function


def run(*arguments: Any) -> None:
    """Run them in order, print one JSON object and end the process."""
    seen = {name: _outcome(function, arguments) for name, function in _SECTIONS}
    sys.stdout.write(json.dumps(seen, default=dict) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a part that still waits must not keep it


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    found: list[Any] = [{"raised": f"still waiting after {_SECONDS} s"}]

    def call() -> None:
        try:
            found.append(function(*arguments))
        except Exception:  # noqa: BLE001 - the test shows it
            found.append({"raised": traceback.format_exc()})

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return found[-1]
