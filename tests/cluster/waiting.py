"""Wait until something is so, and say what was waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cluster.kubectl import CommandError

Until = Callable[[Callable[[], bool], float, str], float]
_LOOK_SECONDS = 0.05


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> float:
    """How long it took, in seconds. A failed command is asked again; too long fails the test."""
    started = time.monotonic()
    problem = ""
    while True:
        try:
            if is_so():
                return time.monotonic() - started
        except CommandError as error:
            problem = f": {error}"
        if time.monotonic() - started > seconds:
            pytest.fail(f"not in {seconds:.0f} s: {what}{problem}")
        time.sleep(_LOOK_SECONDS)
