"""Running a program: one root coroutine, its signals, its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from dapr_common.observe import service_manager
from dapr_common.observe.logs import toggle_debug

Root = Callable[[], Coroutine[Any, Any, None]]


class FatalError(Exception):
    """The program cannot run; the text is its last log line: what is wrong, and what to do."""


def run(root: Root, logger: logging.Logger, *, stop_seconds: float = 30.0) -> int:
    """Run ``root`` until SIGTERM or SIGINT cancels it; SIGUSR1 logs more. Returns the exit code.

    What is to be stopped in order belongs to the ``finally`` blocks of ``root``; a second signal,
    or ``stop_seconds``, ends the process at once.
    """
    return run_loop(_supervise(root, logger, stop_seconds))


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end in a process that serves: fast loop, many files, a collector that is rare."""
    import uvloop

    _allow_many_files()
    gc.set_threshold(50_000, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def _supervise(root: Root, logger: logging.Logger, stop_seconds: float) -> int:
    task = asyncio.create_task(root(), name="root")
    stop = _Stop(task, logger, stop_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.signalled, number)
    loop.add_signal_handler(signal.SIGUSR1, toggle_debug)
    try:
        await task
    except asyncio.CancelledError:
        return 0 if stop.asked else 1
    except Exception as error:  # noqa: BLE001 - the process ends with a log line, not a traceback
        return _failed(error, logger)
    return 0


class _Stop:
    """What signals do."""

    def __init__(
        self, task: asyncio.Task[None], logger: logging.Logger, stop_seconds: float
    ) -> None:
        self._task = task
        self._log = logger
        self._stop_seconds = stop_seconds
        self.asked = False

    def signalled(self, number: int) -> None:
        """Stop in order; at once when asked again."""
        name = signal.Signals(number).name.removeprefix("SIG")
        if self.asked:
            self._log.critical("Received signal '%s' during shutdown; exiting immediately", name)
            os._exit(1)
        self.asked = True
        self._log.info("Received signal '%s'; beginning shutdown", name)
        service_manager.stopping()
        asyncio.get_running_loop().call_later(self._stop_seconds, self._overdue)
        self._task.cancel()

    def _overdue(self) -> None:
        self._log.critical("Shutdown took more than %g s; exiting", self._stop_seconds)
        os._exit(1)


def _failed(error: BaseException, logger: logging.Logger) -> int:
    while isinstance(error, BaseExceptionGroup):
        fatal, _ = error.split(FatalError)
        error = (fatal or error).exceptions[0]
    if isinstance(error, FatalError | OSError):
        logger.critical("Fatal error: %s", error)
    else:
        logger.critical("Fatal error", exc_info=error)
    return 1


def _allow_many_files() -> None:
    """Every connection is an open file: take as many as this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
