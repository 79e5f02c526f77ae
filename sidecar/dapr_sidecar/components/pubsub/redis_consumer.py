"""One consumer group's reading of one Redis stream.

Entries stay in the group's pending list until they are acknowledged. A failed delivery is tried
again from here with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.workers import Lane, Workers
from dapr_sidecar.components.pubsub.acks import AckBuffer
from dapr_sidecar.components.pubsub.base import Message, MessageHandler
from dapr_sidecar.components.pubsub.redis_entries import ConsumerLimits, Entry
from dapr_sidecar.components.pubsub.redis_reclaiming import Reclaiming
from dapr_sidecar.components.redis.client import RedisClient, close_quietly
from dapr_sidecar.components.redis.connection import (
    RedisConnection,
    RedisConnectionError,
    RedisError,
)

_LOG = get_logger("dapr.contrib.pubsub.redis")
_GRACE_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_FIRST_RETRY = 1.0


class Consumer:
    """A live subscription."""

    def __init__(
        self,
        component: str,
        client: RedisClient,
        topic: str,
        group: str,
        handler: MessageHandler,
        workers: Workers,
        limits: ConsumerLimits,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``component`` is the name of whose subscription it is, for the log. ``flush`` makes the
        handler finish what it gathers; called while closing.
        """
        self._component = component
        self._client = client
        self._topic = topic
        self._group = group
        self._handler = handler
        self._limits = limits
        self._flush = flush
        self._lane: Lane[Entry] = Lane(workers, self._handle, limits.queue_depth)
        self._acks: AckBuffer[bytes] = AckBuffer(self._acknowledge)
        self._held: dict[bytes, Entry] = {}
        self._delayed = 0
        self._failing = 0
        self._room_for_failures = asyncio.Event()
        self._room_for_failures.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Create the group and begin to read. Raises when Redis cannot be asked."""
        await self._create_group()
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._read()))
        if self._limits.reclaims:
            reclaiming = Reclaiming(
                self._component,
                self._client,
                self._topic,
                self._group,
                self._limits,
                self._held,
                count=lambda: self._lane.count,
                take=self._take,
                gone=self._acks.add,
            )
            self._tasks.append(loop.create_task(reclaiming.run()))

    async def close(self) -> None:
        """Stop reading, wait for running deliveries; the rest stays pending, free to be claimed."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for entry in self._held.values():
            if entry.timer is not None:
                entry.timer.cancel()
        closing = asyncio.ensure_future(self._lane.close())
        try:
            if self._flush is not None:
                await self._flush()
            await closing
        finally:
            closing.cancel()
            await self._acks.close()
            await self._release()

    async def _release(self) -> None:
        """Make what was read and not delivered look idle: whoever looks next may claim it."""
        ids, idle = list(self._held), int(self._limits.processing_timeout * 1000)
        self._held.clear()
        if not ids:
            return
        with contextlib.suppress(RedisError, RedisConnectionError):  # it then waits its time
            await self._client.command(
                "XCLAIM",
                self._topic,
                self._group,
                self._group,
                0,
                *ids,
                "IDLE",
                idle,
                "JUSTID",
            )

    # --- reading ----------------------------------------------------------------------------

    async def _create_group(self) -> None:
        try:
            await self._client.command(
                "XGROUP", "CREATE", self._topic, self._group, "0", "MKSTREAM"
            )
        except RedisError as error:
            text = str(error)
            if text.startswith("BUSYGROUP"):
                return
            # A full server refuses even what would change nothing; reading makes room again.
            if not (text.startswith("OOM") and await self._has_group()):
                raise

    async def _has_group(self) -> bool:
        try:
            groups = await self._client.command("XINFO", "GROUPS", self._topic)
        except RedisError:
            return False  # no stream, no group
        return any(group[1] == self._group.encode() for group in groups)

    async def _read(self) -> None:
        connection: RedisConnection | None = None
        pause = _FIRST_PAUSE
        try:
            while True:
                await self._room_for_failures.wait()
                room = await self._lane.room()
                try:
                    if connection is None or connection.lost:
                        connection = await self._client.dedicated()
                    reply = await self._read_once(connection, room)
                    if reply:
                        self._take(reply[0][1], 1)
                except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                    if isinstance(error, RedisError):
                        if await self._regrouped(error):
                            continue
                    else:
                        await close_quietly(connection)
                        connection = None
                    _LOG.warning(
                        "component '%s': reading stream %s failed: %s",
                        self._component,
                        self._topic,
                        str(error) or type(error).__name__,
                    )
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
        finally:
            await close_quietly(connection)

    async def _read_once(self, connection: RedisConnection, count: int) -> Any:
        block = self._limits.block
        async with asyncio.timeout(block + _GRACE_SECONDS):
            return await connection.send(
                "XREADGROUP",
                "GROUP",
                self._group,
                self._group,
                "COUNT",
                count,
                "BLOCK",
                int(block * 1000),
                "STREAMS",
                self._topic,
                ">",
            )

    async def _regrouped(self, error: RedisError) -> bool:
        """After NOGROUP (the stream was deleted): whether there is a group again."""
        if "NOGROUP" not in str(error):
            return False
        try:
            await self._create_group()
        except (RedisError, RedisConnectionError):
            return False
        return True

    def _take(self, entries: Sequence[Any], attempts: int) -> None:
        now = asyncio.get_running_loop().time()
        held, put = self._held, self._lane.put
        for entry_id, fields in entries:
            if entry_id in held:
                continue
            if fields is None:  # deleted from the stream, still pending
                self._acks.add(entry_id)
                continue
            entry = held[entry_id] = Entry(entry_id, fields, attempts, now)
            put(entry)

    # --- handling ---------------------------------------------------------------------------

    async def _handle(self, entry: Entry) -> None:
        message = Message(self._topic, entry.data, entry.metadata)
        try:
            if self._limits.processing_timeout:
                async with asyncio.timeout(self._limits.processing_timeout):
                    await self._handler(message)
            else:
                await self._handler(message)
        except Exception as error:  # noqa: BLE001 - whatever it was, the entry stays pending
            self._failed(entry, error)
        else:
            self._held.pop(entry.id, None)
            self._acks.add(entry.id)
            if entry.failed:
                self._failing -= 1
                if self._failing < self._limits.queue_depth:
                    self._room_for_failures.set()

    def _failed(self, entry: Entry, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not self._tasks:  # closing: released with the others
            return
        if self._limits.reclaims and self._delayed >= self._limits.queue_depth:
            # Enough failed messages are held here; this one comes back through the pending list.
            self._held.pop(entry.id, None)
            _LOG.error(
                "component '%s': message %s of %s failed: %s",
                self._component,
                entry.id.decode(),
                self._topic,
                reason,
            )
            return
        exponent = min(entry.attempts - 1, 10)
        delay = min(_FIRST_RETRY * 2**exponent, self._limits.longest_retry)
        entry.attempts += 1
        self._delayed += 1
        if not entry.failed:
            entry.failed = True
            self._failing += 1
        if not self._limits.reclaims and self._failing >= self._limits.queue_depth:
            # Nothing brings a message back later where reclaiming is off: what fails is kept, and
            # nothing more is read until some of it went through.
            self._room_for_failures.clear()
        entry.timer = asyncio.get_running_loop().call_later(delay, self._again, entry)
        _LOG.error(
            "component '%s': message %s of %s failed, next attempt in %gs: %s",
            self._component,
            entry.id.decode(),
            self._topic,
            delay,
            reason,
        )

    def _again(self, entry: Entry) -> None:
        self._delayed -= 1
        entry.timer = None
        self._lane.put(entry)

    async def _acknowledge(self, entry_ids: Sequence[bytes]) -> None:
        await self._client.command("XACK", self._topic, self._group, *entry_ids)
