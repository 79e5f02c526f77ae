"""One consumer group's reading of one Redis stream.

Entries stay in the group's pending list until they are acknowledged. A failed delivery is tried
again from here with growing pauses; entries of processes that died are claimed once they have been
idle for ``processingTimeout``. Everything this process holds is kept from looking idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.workers import Lane, Workers
from dapr_sidecar.components.pubsub.acks import AckBuffer
from dapr_sidecar.components.pubsub.base import Message, MessageHandler
from dapr_sidecar.components.redis.client import RedisClient, close_quietly
from dapr_sidecar.components.redis.connection import (
    RedisConnection,
    RedisConnectionError,
    RedisError,
)

_LOG = get_logger("dapr.contrib.pubsub.redis")
_GRACE_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0
_PAGES = 100


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """Settings of a consumer, in seconds."""

    queue_depth: int
    processing_timeout: float
    redeliver_interval: float
    block: float

    @classmethod
    def of(
        cls,
        queue_depth: int,
        processing_timeout: timedelta,
        redeliver_interval: timedelta,
        read_timeout: timedelta,
    ) -> ConsumerLimits:
        """From the component's settings."""
        block = read_timeout.total_seconds()
        return cls(
            max(queue_depth, 1),
            max(processing_timeout.total_seconds(), 0.0),
            max(redeliver_interval.total_seconds(), 0.0),
            block if block > 0 else 3.0,
        )

    def at_least(self, queue_depth: int) -> ConsumerLimits:
        """The same with room for more messages."""
        return dataclasses.replace(self, queue_depth=max(self.queue_depth, queue_depth))

    @property
    def reclaims(self) -> bool:
        """Whether abandoned messages are looked for."""
        return self.processing_timeout > 0 and self.redeliver_interval > 0

    @property
    def longest_retry(self) -> float:
        """The longest pause before a failed message is tried again."""
        return min(self.processing_timeout or _LONGEST_RETRY, _LONGEST_RETRY)


class _Entry:
    """One entry of the stream that this process holds."""

    __slots__ = ("attempts", "data", "failed", "id", "metadata", "since", "timer")

    def __init__(
        self, entry_id: bytes, fields: Sequence[bytes], attempts: int, since: float
    ) -> None:
        self.id = entry_id
        self.data = b""
        self.metadata: Mapping[str, str] | None = None
        self.attempts = attempts
        self.since = since
        self.timer: asyncio.TimerHandle | None = None
        self.failed = False
        """Whether the app has failed it, and not taken it since."""
        for at in range(0, len(fields), 2):
            if fields[at] == b"data":
                self.data = fields[at + 1]
            elif fields[at] == b"metadata":
                self.metadata = _metadata(fields[at + 1])


def _metadata(text: bytes) -> Mapping[str, str] | None:
    if text == b"{}":
        return {}
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}


class Consumer:
    """A live subscription."""

    def __init__(
        self,
        client: RedisClient,
        topic: str,
        group: str,
        handler: MessageHandler,
        workers: Workers,
        limits: ConsumerLimits,
        *,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``flush`` makes the handler finish what it gathers; called while closing."""
        self._client = client
        self._topic = topic
        self._group = group
        self._handler = handler
        self._limits = limits
        self._flush = flush
        self._lane: Lane[_Entry] = Lane(workers, self._handle, limits.queue_depth)
        self._acks: AckBuffer[bytes] = AckBuffer(self._acknowledge)
        self._held: dict[bytes, _Entry] = {}
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
            self._tasks.append(loop.create_task(self._reclaim()))

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
                    _LOG.warning("reading stream %s failed: %s", self._topic, error)
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
            entry = held[entry_id] = _Entry(entry_id, fields, attempts, now)
            put(entry)

    # --- handling ---------------------------------------------------------------------------

    async def _handle(self, entry: _Entry) -> None:
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

    def _failed(self, entry: _Entry, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if not self._tasks:  # closing: released with the others
            return
        if self._limits.reclaims and self._delayed >= self._limits.queue_depth:
            # Enough failed messages are held here; this one comes back through the pending list.
            self._held.pop(entry.id, None)
            _LOG.error("message %s of %s failed: %s", entry.id.decode(), self._topic, reason)
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
            "message %s of %s failed, next attempt in %gs: %s",
            entry.id.decode(),
            self._topic,
            delay,
            reason,
        )

    def _again(self, entry: _Entry) -> None:
        self._delayed -= 1
        entry.timer = None
        self._lane.put(entry)

    async def _acknowledge(self, entry_ids: Sequence[bytes]) -> None:
        await self._client.command("XACK", self._topic, self._group, *entry_ids)

    # --- reclaiming -------------------------------------------------------------------------

    async def _reclaim(self) -> None:
        limits = self._limits
        interval = min(limits.redeliver_interval, limits.processing_timeout / 3)
        while True:
            try:
                await self._refresh(interval)
                await self._claim_abandoned()
            except (RedisError, RedisConnectionError) as error:
                _LOG.warning("looking for abandoned messages of %s failed: %s", self._topic, error)
            await asyncio.sleep(interval)

    async def _refresh(self, older_than: float) -> None:
        """Reset the idle time of what this process holds, so that no other one claims it."""
        before = asyncio.get_running_loop().time() - older_than
        ids = [entry.id for entry in self._held.values() if entry.since <= before]
        for at in range(0, len(ids), 100):
            await self._client.command(
                "XCLAIM",
                self._topic,
                self._group,
                self._group,
                0,
                *ids[at : at + 100],
                "JUSTID",
            )

    async def _claim_abandoned(self) -> None:
        start = "-"
        depth = self._limits.queue_depth
        idle = int(self._limits.processing_timeout * 1000)
        for _ in range(_PAGES):
            page = await self._client.command(
                "XPENDING", self._topic, self._group, start, "+", depth
            )
            abandoned = {
                row[0]: row[3] for row in page if row[2] >= idle and row[0] not in self._held
            }
            room = depth - self._lane.count
            if abandoned and room > 0:
                await self._claim(dict(list(abandoned.items())[:room]), idle)
            if len(page) < depth or room <= 0:
                return
            start = _after(page[-1][0])

    async def _claim(self, abandoned: Mapping[bytes, int], idle: int) -> None:
        reply = await self._client.command(
            "XCLAIM", self._topic, self._group, self._group, idle, *abandoned
        )
        claimed = [entry for entry in reply or () if entry]
        for entry in claimed:
            self._take([entry], abandoned.get(entry[0], 1) + 1)
        for entry_id in abandoned.keys() - {entry[0] for entry in claimed}:
            # Claimed by another process meanwhile, or gone from the stream: only that is final.
            if not await self._client.command("XRANGE", self._topic, entry_id, entry_id):
                self._acks.add(entry_id)


def _after(entry_id: bytes) -> str:
    milliseconds, _, sequence = entry_id.decode().partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"
