"""Keys that changed and wait until their subscriber was told; what all watches share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_PENDING_LIMIT = 10_000


class ChangedKeys(Generic[K]):
    """Calls ``tell`` with each marked key, one after the other.

    A key that is marked again before its turn came is told once: whoever is told reads its value.
    """

    def __init__(
        self,
        log: logging.Logger,
        component: str,
        tell: Callable[[K], Awaitable[None]],
        look_again: Callable[[], Awaitable[Iterable[K]]],
        unreachable: tuple[type[Exception], ...],
    ) -> None:
        """``component`` is the name of the store whose keys they are, for the log.

        ``look_again`` names every key that may have changed; it is asked when some were missed.
        A ``tell`` that ends with one of ``unreachable`` is repeated until the server is back.
        """
        self._log = log
        self._component = component
        self._tell = tell
        self._look_again = look_again
        self._unreachable = unreachable
        self._pending: dict[K, None] = {}
        self._marked = asyncio.Event()
        self._missed = False
        self._pause = _FIRST_PAUSE

    def mark(self, key: K) -> None:
        """This key changed."""
        if len(self._pending) >= _PENDING_LIMIT and key not in self._pending:
            self._missed = True  # its subscriber is far behind: all keys are looked at later
            return
        self._pending[key] = None
        self._marked.set()

    def mark_all(self) -> None:
        """Any key may have changed: have them looked at when those that wait were told."""
        self._missed = True
        self._marked.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._marked.wait()
            self._marked.clear()
            while self._pending:
                key = next(iter(self._pending))
                del self._pending[key]
                await self._tell_one(key)
            if self._missed:
                self._missed = False
                await self._look()

    async def _tell_one(self, key: K) -> None:
        try:
            await self._tell(key)
        except self._unreachable as error:
            self.mark(key)  # the server went away between the event and the read
            await self._wait(error)
        except Exception as error:  # noqa: BLE001 - one update must not end all others
            self._log.error(
                "component '%s': a configuration update was not delivered: %s",
                self._component,
                error,
            )
        else:
            self._pause = _FIRST_PAUSE

    async def _look(self) -> None:
        try:
            found = await self._look_again()
        except Exception as error:  # noqa: BLE001 - tried until it works: a change must not be lost
            self.mark_all()
            await self._wait(error)
            return
        self._pause = _FIRST_PAUSE
        for key in found:
            self._pending.pop(key, None)
            await self._tell_one(key)

    async def _wait(self, error: Exception) -> None:
        self._log.warning(
            "component '%s': configuration keys could not be read: %s", self._component, error
        )
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
