"""Writes on behalf of an actor: none begins, and none goes on, when the actor is somebody else's.

Ownership ends by a clock before placement gives the actor away (see ``ownership``). A write that is
under way then, because its store stalls, is given up: what the store has not taken by now would
reach it after the new owner's writes. In an ordinary round placement waits for this sidecar, and
the round for its writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dapr_sidecar.blocks.actors.base import ActorRef, Ownership
from dapr_sidecar.blocks.actors.stored import ForbiddenError, MayWrite

_LOOK_SECONDS = 0.25
"""How often ownership is looked at while writes are under way.

It ends 2 s before placement gives up on a silent sidecar, and 1 s before it does on one that owes
the answer of a round.
"""


class ActorLeftError(Exception):
    """A write was given up."""

    def __init__(self, ref: ActorRef) -> None:
        super().__init__(
            f"actor {ref} left this sidecar before the store answered; whether this was stored is "
            "not known"
        )


class WriteFence:
    """Every write goes through ``run``."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._open: dict[asyncio.Timeout, ActorRef] = {}
        self._cut: set[asyncio.Timeout] = set()
        self._ended = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, ref: ActorRef, write: Callable[[MayWrite], Awaitable[None]]) -> None:
        """Make one write. Raises ``ActorLeftError``, or what the write raises."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._open[scope] = ref
                self._watch()
                await write(lambda: self._ownership.holds(ref))
        except ForbiddenError:
            raise ActorLeftError(ref) from None
        except TimeoutError:
            if scope.expired():
                raise ActorLeftError(ref) from None
            raise
        finally:
            self._open.pop(scope, None)
            self._cut.discard(scope)
            self._ended.set()

    def cut(self) -> None:
        """Give up the writes for actors that are not this sidecar's any more."""
        for scope, ref in self._open.items():
            if scope not in self._cut and not self._ownership.holds(ref):
                self._cut.add(scope)
                scope.reschedule(0.0)

    async def finished(self, types: frozenset[str]) -> None:
        """Return once no write of these types is under way."""
        self.cut()
        while any(ref.type in types for ref in self._open.values()):
            self._ended.clear()
            await self._ended.wait()

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self.cut()
        if self._open:
            self._watch()
