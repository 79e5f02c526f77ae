"""The signals that end ``dapr run``, and the process group it runs in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Self

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """``stop`` is set by the first signal, ``hurry`` by the second; use it in a running loop.

    A SIGHUP that is ignored, as under ``nohup``, stays so: the run is to outlive its terminal.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._ending = [number for number in _ENDING if not _stays_ignored(number)]

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in self._ending:
            loop.add_signal_handler(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in self._ending:
            loop.remove_signal_handler(number)

    async def unless_stopped(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do the work; it is cancelled, and the answer ``False``, when a signal comes first."""
        doing = asyncio.create_task(work)
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({doing, stopped}, return_when="FIRST_COMPLETED")
            if doing.done():
                doing.result()
            return doing.done()
        finally:
            stopped.cancel()
            doing.cancel()
            await asyncio.wait({doing, stopped})

    def _received(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


def _stays_ignored(number: signal.Signals) -> bool:
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


@contextlib.contextmanager
def own_process_group() -> Iterator[None]:
    """Make this process a group leader, so that signals to its group reach nobody else.

    When the old group had the terminal, the new one gets it: Ctrl-C still arrives.
    """
    old = os.getpgrp()
    if old == os.getpid():
        yield
        return
    terminal = _terminal_of(old)
    os.setpgid(0, 0)
    _hand_over(terminal, os.getpgrp())
    try:
        yield
    finally:
        _hand_over(terminal, old)


def _terminal_of(group: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        if os.tcgetpgrp(sys.stdin.fileno()) == group:
            return sys.stdin.fileno()
    return None


def _hand_over(terminal: int | None, group: int) -> None:
    if terminal is None:
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # sent to who is in the background
    try:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
