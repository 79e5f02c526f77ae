"""One consumer group's reading of one topic of ``pubsub.sqlite``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.workers import Lane, Workers
from dapr_sidecar.components.pubsub import sqlite_store as store
from dapr_sidecar.components.pubsub.acks import AckBuffer
from dapr_sidecar.components.pubsub.base import Message, MessageHandler
from dapr_sidecar.components.sqlite.connection import Database, DatabaseError

_LOG = get_logger("dapr.contrib.pubsub.sqlite")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_SHORTEST_WAIT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteLimits:
    """Settings of a consumer; times in seconds."""

    queue_depth: int
    processing_timeout: float
    lease: float
    first_delay: float
    longest_delay: float
    max_deliveries: int
    poll: float


class SqliteConsumer:
    """A live subscription. What it holds is leased, and the lease renewed while it lives."""

    def __init__(
        self,
        database: Database,
        group: store.Group,
        handler: MessageHandler,
        workers: Workers,
        limits: SqliteLimits,
        on_close: Callable[[SqliteConsumer], None],
        on_release: Callable[[str], None],
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``on_release`` gets the topic when messages were given back for others to take.

        ``flush`` makes the handler finish what it gathers; called while closing.
        """
        self.topic = group.topic
        self._database = database
        self._group = group
        self._owner = uuid.uuid4().hex
        self._handler = handler
        self._limits = limits
        self._on_close = on_close
        self._on_release = on_release
        self._flush = flush
        self._lane: Lane[store.Delivery] = Lane(workers, self._handle, limits.queue_depth)
        self._held: set[int] = set()
        self._acks: AckBuffer[int] = AckBuffer(self._acknowledge)
        self._postponed: AckBuffer[tuple[int, int]] = AckBuffer(self._postpone)
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self) -> None:
        """There may be something new."""
        self._rung.set()

    async def start(self) -> None:
        """Create the group and begin to read. Raises ``DatabaseError``."""
        await self._database.run(partial(store.ensure_group, group=self._group))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._renew())]

    async def close(self) -> None:
        """Stop reading, wait for running deliveries; what was not delivered is due at once."""
        tasks, self._tasks = self._tasks, []
        if tasks:
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
        closing = asyncio.ensure_future(self._lane.close())
        try:
            if self._flush is not None:
                await self._flush()
            await closing
        finally:
            closing.cancel()
            await self._acks.close()
            await self._postponed.close()
            for task in tasks[1:]:
                task.cancel()
                await asyncio.wait([task])
            await self._release()
            self._on_close(self)

    async def _release(self) -> None:
        self._held.clear()
        work = partial(store.release, group=self._group, owner=self._owner, now=_now())
        try:
            released = await self._database.run(work)
        except (DatabaseError, TimeoutError) as error:
            _LOG.warning("messages of topic %s stay leased for a while: %s", self.topic, error)
            return
        if released:
            self._on_release(self.topic)

    # --- reading ----------------------------------------------------------------------------

    async def _read(self) -> None:
        pause = _FIRST_PAUSE
        lease = int(self._limits.lease * 1000)
        while True:
            room = await self._lane.room()
            self._rung.clear()
            work = partial(
                store.fetch,
                group=self._group,
                owner=self._owner,
                limit=room,
                now=_now(),
                lease=lease,
            )
            try:
                fetched = await self._database.run(work)
            except (DatabaseError, TimeoutError) as error:
                _LOG.warning("reading topic %s failed: %s", self.topic, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            for delivery in fetched.deliveries:
                if delivery.message not in self._held:
                    self._held.add(delivery.message)
                    self._lane.put(delivery)
            if not fetched.deliveries:
                await self._wait(fetched.next_due)

    async def _wait(self, next_due: int | None) -> None:
        seconds = self._limits.poll
        if next_due is not None:
            seconds = min(seconds, max((next_due - _now()) / 1000, _SHORTEST_WAIT))
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease / 3)
            if self._held:
                work = partial(
                    store.renew,
                    group=self._group,
                    owner=self._owner,
                    messages=list(self._held),
                    due=_now() + int(self._limits.lease * 1000),
                )
                try:
                    await self._database.run(work)
                except (DatabaseError, TimeoutError) as error:
                    _LOG.warning("renewing leases of topic %s failed: %s", self.topic, error)

    # --- handling ---------------------------------------------------------------------------

    async def _handle(self, delivery: store.Delivery) -> None:
        message = Message(self.topic, delivery.data, _metadata(delivery.metadata))
        timeout = self._limits.processing_timeout or None
        try:
            async with asyncio.timeout(timeout):
                await self._handler(message)
        except Exception as error:  # noqa: BLE001 - whatever it was, the message comes again
            self._failed(delivery, error)
        else:
            self._held.discard(delivery.message)
            self._acks.add(delivery.message)

    def _failed(self, delivery: store.Delivery, error: Exception) -> None:
        limits = self._limits
        reason = str(error) or type(error).__name__
        if limits.max_deliveries and delivery.attempts >= limits.max_deliveries:
            self._held.discard(delivery.message)
            self._acks.add(delivery.message)
            _LOG.error(
                "message %d of %s is given up after %d deliveries: %s",
                delivery.message,
                self.topic,
                delivery.attempts,
                reason,
            )
            return
        delay = min(limits.first_delay * 2 ** min(delivery.attempts - 1, 30), limits.longest_delay)
        self._held.discard(delivery.message)
        self._postponed.add((delivery.message, _now() + int(delay * 1000)))
        _LOG.error(
            "message %d of %s failed, next attempt in %gs: %s",
            delivery.message,
            self.topic,
            delay,
            reason,
        )

    async def _acknowledge(self, messages: Sequence[int]) -> None:
        await self._database.run(partial(store.acknowledge, group=self._group, messages=messages))

    async def _postpone(self, dues: Sequence[tuple[int, int]]) -> None:
        await self._database.run(
            partial(store.postpone, group=self._group, owner=self._owner, dues=dues)
        )
        self._rung.set()  # the time of the next attempt may be nearer now


def _now() -> int:
    return int(time.time() * 1000)


def _metadata(text: str | None) -> Mapping[str, str] | None:
    if text is None:
        return None
    found: dict[str, str] = orjson.loads(text)
    return found
