"""Noticing that files change: their directories are watched, so that replaced files count, too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

from dapr_common.aio.inotify import Inotify

Follow = Callable[[Iterable[str]], None]


@contextlib.contextmanager
def watching(changed: asyncio.Event, logger: logging.Logger) -> Iterator[Follow]:
    """Sets the event when a followed directory changes; following one again is harmless.

    Where inotify cannot be had this is said, and nothing is noticed: look now and then as well.
    """
    try:
        watcher = Inotify()
    except OSError as error:
        logger.warning("changes of files are noticed late, inotify is not available: %s", error)
        yield lambda _: None
        return

    def follow(directories: Iterable[str]) -> None:
        for directory in directories:
            # One that went is followed again when it is back.
            with contextlib.suppress(OSError):
                watcher.add(directory)

    def readable() -> None:
        watcher.drain()
        changed.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(watcher.descriptor, readable)
    try:
        yield follow
    finally:
        loop.remove_reader(watcher.descriptor)
        watcher.close()
