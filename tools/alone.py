"""One at a time on this machine: what two would write to the same folder of the cache."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(lock: Path, what: str) -> Iterator[None]:
    """Wait until nobody else is at it, and say so while waiting."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Somebody else is at {what}; waiting …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
