"""Figures about this process, read when somebody asks."""

from __future__ import annotations

import gc
import os
import platform
import resource
import time
from collections.abc import Iterator
from typing import Literal

_START = time.time()
_PAGE = resource.getpagesize()

Samples = list[tuple[list[tuple[str, str]], float]]
"""Labels and value."""
Family = tuple[str, Literal["counter", "gauge"], Samples]


def process_values() -> Iterator[Family]:
    """The usual ``process_*`` metrics, and those of Python's garbage collector."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = _memory()
    received, sent = _network()
    yield _one("process_cpu_seconds_total", "counter", usage.ru_utime + usage.ru_stime)
    yield _one("process_virtual_memory_bytes", "gauge", virtual)
    yield _one("process_virtual_memory_max_bytes", "gauge", _limit(resource.RLIMIT_AS))
    yield _one("process_resident_memory_bytes", "gauge", resident)
    yield _one("process_start_time_seconds", "gauge", _START)
    yield _one("process_open_fds", "gauge", _open_files())
    yield _one("process_max_fds", "gauge", _limit(resource.RLIMIT_NOFILE))
    yield _one("process_network_receive_bytes_total", "counter", received)
    yield _one("process_network_transmit_bytes_total", "counter", sent)
    yield _collections()


def python_labels() -> list[tuple[str, str]]:
    """What ``python_info`` says."""
    return [
        ("implementation", platform.python_implementation()),
        ("version", platform.python_version()),
    ]


def _one(name: str, kind: Literal["counter", "gauge"], value: float) -> Family:
    return name, kind, [([], float(value))]


def _collections() -> Family:
    samples: Samples = [
        ([("generation", str(generation))], float(figures["collections"]))
        for generation, figures in enumerate(gc.get_stats())
    ]
    return "python_gc_collections_total", "counter", samples


def _limit(which: int) -> float:
    """A soft limit; no limit is the largest number, as Go's client shows it."""
    soft = resource.getrlimit(which)[0]
    return float((1 << 64) - 1) if soft == resource.RLIM_INFINITY else float(soft)


def _memory() -> tuple[int, int]:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - one small read
            virtual, resident = file.read().split()[:2]
    except OSError:
        return 0, 0
    return int(virtual) * _PAGE, int(resident) * _PAGE


def _network() -> tuple[int, int]:
    """Bytes received and sent by all interfaces of this network namespace."""
    try:
        with open("/proc/self/net/dev", "rb") as file:  # noqa: PTH123 - one small read
            rows = [line.partition(b":")[2].split() for line in file.readlines()[2:]]
    except OSError:
        return 0, 0
    return sum(int(row[0]) for row in rows), sum(int(row[8]) for row in rows)


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, no paths
    except OSError:
        return 0
