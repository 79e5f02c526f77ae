"""Figures about this process, read when somebody asks."""

from __future__ import annotations

import os
import platform
import resource
import time
from typing import Literal

_START = time.time()
_PAGE = resource.getpagesize()


def process_values() -> list[tuple[str, Literal["counter", "gauge"], float]]:
    """Name, kind and value of the usual ``process_*`` metrics."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = _memory()
    return [
        ("process_cpu_seconds_total", "counter", usage.ru_utime + usage.ru_stime),
        ("process_virtual_memory_bytes", "gauge", float(virtual)),
        ("process_resident_memory_bytes", "gauge", float(resident)),
        ("process_start_time_seconds", "gauge", _START),
        ("process_open_fds", "gauge", float(_open_files())),
        ("process_max_fds", "gauge", float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
    ]


def python_labels() -> list[tuple[str, str]]:
    """What ``python_info`` says."""
    return [
        ("implementation", platform.python_implementation()),
        ("version", platform.python_version()),
    ]


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    return _memory()[1]


def _memory() -> tuple[int, int]:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - one small read
            virtual, resident = file.read().split()[:2]
    except OSError:
        return 0, 0
    return int(virtual) * _PAGE, int(resident) * _PAGE


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths
    except OSError:
        return 0
