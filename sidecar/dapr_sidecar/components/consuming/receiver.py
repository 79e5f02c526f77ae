"""A consumer that outlives its connection: sessions with a broker, one after the other.

A system brings a ``Session``: how to get deliveries, how to settle them, how to tell that it is
over. The rest is the same for all: bounded deliveries at once, a new session after a pause that
grows, a close that waits for what runs and leaves the rest with the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import own_cancellation, within
from dapr_sidecar.components.consuming.workers import Lane, Workers

_LOG = get_logger("dapr.contrib.consuming")
_LONGEST_PAUSE = 30.0
_OPEN_SECONDS = 60.0
_SETTLE_SECONDS = 10.0
_CLOSE_SECONDS = 5.0

T = TypeVar("T")


@dataclass(slots=True)
class Delivery(Generic[T]):
    """One message that the broker waits to hear about."""

    message: T
    accept: Callable[[], Awaitable[None]]
    """It is done with."""
    refuse: Callable[[], Awaitable[None]]
    """It failed: what the system does with failed ones."""


class Session(Protocol):
    """A consumer's time with one connection."""

    async def ended(self) -> None:
        """Returns, or raises why, when the session is over."""

    async def stop(self) -> None:
        """No further deliveries; those under way can still be settled."""

    async def close(self) -> None:
        """Give back what was not settled. Never raises for a dead peer."""


SessionOpener = Callable[[Callable[[Delivery[T]], None]], Awaitable[Session]]


class Receiver(Generic[T]):
    """A live subscription. Opens its sessions with ``opener``, which gets where deliveries go."""

    def __init__(
        self,
        name: str,
        opener: SessionOpener[T],
        handler: Callable[[T], Awaitable[object]],
        *,
        concurrency: int,
        limit: int,
        pause: float,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``concurrency`` handlers run at once, ``limit`` deliveries are held at most, which the
        session sees to. ``pause``: seconds before a lost session is opened again. ``flush`` makes
        the handler finish what it gathers; called while closing.
        """
        self._name = name
        self._opener = opener
        self._handler = handler
        self._pause = max(pause, 0.05)
        self._flush = flush
        self._lane: Lane[Delivery[T]] = Lane(Workers(concurrency), self._handle, limit)
        self._session: Session | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False

    async def start(self) -> None:
        """Open the first session. Raises what kept it from opening."""
        self._session = await self._opened()
        self._tasks.append(asyncio.get_running_loop().create_task(self._keep()))

    async def room(self) -> int:
        """How many more deliveries may be put; waits until that is worth a read."""
        return await self._lane.room()

    async def close(self) -> None:
        """Stop deliveries, wait for those that run; the rest stays with the broker."""
        self._is_closing = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        session, self._session = self._session, None
        if session is not None:
            await self._quietly(session.stop())
        closing = asyncio.ensure_future(self._lane.close())
        try:
            if self._flush is not None:
                await self._flush()
            await closing
        finally:
            closing.cancel()
            if session is not None:
                await self._quietly(session.close())

    async def _keep(self) -> None:
        while True:
            assert self._session is not None
            try:
                with own_cancellation("the connection was lost"):
                    await self._session.ended()
                reason: object = "the connection ended"
            except Exception as error:  # noqa: BLE001 - whatever ended it, another one follows
                reason = error
            _LOG.warning("%s: %s; connecting again", self._name, _text(reason))
            self._lane.drop()  # the broker delivers them again
            await self._quietly(self._session.close())
            self._session = await self._reopened()
            _LOG.info("%s: connected again", self._name)

    async def _reopened(self) -> Session:
        pause = self._pause
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._opened()
            except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                _LOG.warning("%s: no connection: %s", self._name, _text(error))
            pause = min(pause * 2, max(_LONGEST_PAUSE, self._pause))

    async def _opened(self) -> Session:
        """A session, or within the deadline why there is none."""
        with own_cancellation("the connection was lost while it was opened"):
            async with within(_OPEN_SECONDS, "the broker did not answer"):
                return await self._opener(self._lane.put)

    async def _handle(self, delivery: Delivery[T]) -> None:
        try:
            await self._handler(delivery.message)
        except Exception as error:  # noqa: BLE001 - the broker decides what becomes of it
            _LOG.error("%s: a message failed: %s", self._name, _text(error))
            await self._settle(delivery.refuse)
        else:
            await self._settle(delivery.accept)

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        seconds = _CLOSE_SECONDS if self._is_closing else _SETTLE_SECONDS
        try:
            with own_cancellation("the connection was lost"):
                async with within(seconds, "the broker did not answer"):
                    await settle()
        except Exception as error:  # noqa: BLE001 - unsettled, the broker delivers it again
            _LOG.warning("%s: a message could not be settled: %s", self._name, _text(error))

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            with own_cancellation("the connection was lost"):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await work
        except Exception as error:  # noqa: BLE001 - the peer may be dead
            _LOG.debug("%s: closing: %s", self._name, _text(error))


def _text(error: object) -> str:
    return str(error) or type(error).__name__
