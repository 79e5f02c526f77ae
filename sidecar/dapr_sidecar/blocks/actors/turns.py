"""One turn at a time: the lock of an actor, first come first served, with reentrancy. Pure.

A reentrant call carries the id of the call it comes from and enters at once; what is queued with
that id enters together with the first of them.
"""

from __future__ import annotations

import asyncio
from collections import deque


class ActorClosedError(Exception):
    """The actor was deactivated while the call waited."""


class StackDepthError(Exception):
    """A reentrant call went deeper than allowed."""


_Waiter = tuple["asyncio.Future[None]", str | None, int]


class TurnLock:
    """The lock of one actor. Small: there are as many as active actors."""

    __slots__ = ("_depth", "_holder", "_waiters", "closed")

    def __init__(self) -> None:
        self._depth = 0
        self._holder: str | None = None
        self._waiters: deque[_Waiter] | None = None
        self.closed = False

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._depth > 0

    def is_held_by(self, caller: str | None) -> bool:
        """Whether a call with this reentrancy id enters at once."""
        return caller is not None and self._depth > 0 and caller == self._holder

    def try_enter(self, caller: str | None, most: int) -> bool:
        """Take the turn if that needs no waiting.

        ``most`` is the largest depth. Raises ``StackDepthError`` or ``ActorClosedError``.
        """
        if self.closed:
            raise ActorClosedError
        if self._depth == 0:
            self._depth, self._holder = 1, caller
            return True
        if caller is not None and caller == self._holder:
            if self._depth >= most:
                raise StackDepthError
            self._depth += 1
            return True
        return False

    async def wait(self, caller: str | None, most: int) -> None:
        """Queue for the turn that ``try_enter`` did not give. Raises as it does."""
        waiting = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = deque()
        entry = (waiting, caller, most)
        self._waiters.append(entry)
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self.leave()
            elif self._waiters is not None and entry in self._waiters:
                self._waiters.remove(entry)
            raise

    def leave(self) -> None:
        """The turn is over; the next one begins."""
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
            if self._waiters is not None:
                self._next()

    def close(self) -> None:
        """Nobody enters any more; those who wait are told."""
        self.closed = True
        waiters, self._waiters = self._waiters, None
        for waiting, _, _ in waiters or ():
            if not waiting.done():
                waiting.set_exception(ActorClosedError())

    def _next(self) -> None:
        waiters = self._waiters
        while waiters and self._depth == 0:
            waiting, caller, _ = waiters.popleft()
            if not waiting.done():
                self._depth, self._holder = 1, caller
                waiting.set_result(None)
        if waiters and self._holder is not None:
            self._join(waiters)
        if not waiters:
            self._waiters = None

    def _join(self, waiters: deque[_Waiter]) -> None:
        """Let in who queued with the id that now has the turn."""
        for entry in [entry for entry in waiters if entry[1] == self._holder]:
            waiters.remove(entry)
            waiting, _, most = entry
            if waiting.done():
                continue
            if self._depth >= most:
                waiting.set_exception(StackDepthError())
            else:
                self._depth += 1
                waiting.set_result(None)
