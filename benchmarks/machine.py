"""Cores, processor clocks and memory, as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROCESS_CLOCK = 2


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used, all its threads, ended ones too."""
    # The kernel's encoding of another process's CPU clock (clock_getcpuclockid(3)).
    return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)


def resident_bytes(pid: int) -> int:
    """The process's resident memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} is gone")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where things run: ``tested`` for the programs under test, ``load`` for everything else."""

    tested: frozenset[int]
    load: frozenset[int]

    @property
    def are_apart(self) -> bool:
        """Whether the tested programs have a core of their own."""
        return self.tested != self.load


def choose_cores() -> Cores:
    """The first allowed core for the tested programs, the second for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(frozenset(allowed), frozenset(allowed))
    return Cores(frozenset(allowed[:1]), frozenset(allowed[1:2]))


@contextlib.contextmanager
def children_on(cores: frozenset[int]) -> Iterator[None]:
    """Processes started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe(cores: Cores) -> dict[str, object]:
    """The machine in a few words, for the report."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "pinned": cores.are_apart,
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
