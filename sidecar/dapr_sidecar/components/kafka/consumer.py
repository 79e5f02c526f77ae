"""A member of a consumer group: partitions side by side, the messages of one in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.kafka.settings import KafkaSettings

_LOG = get_logger("dapr.contrib.kafka")
_COMMIT_SECONDS = 1.0
_POLL_MS = 500
_JOIN_SECONDS = 60.0
_REVOKE_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_PAUSE = 1.0

RecordHandler = Callable[[Sequence[ConsumerRecord]], Awaitable[Sequence[ConsumerRecord]]]
"""Handles a batch of one partition; returns those that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a group reads. ``retry`` is the pause in seconds before failed messages are tried again;
    ``None``: they are passed over.
    """

    retry: float | None
    buffered: int
    batch: int = 1
    batch_seconds: float = 0.0


class _Partition:
    """The messages of one partition, in order."""

    def __init__(self, handler: RecordHandler, reading: Reading, room: asyncio.Event) -> None:
        self._handler = handler
        self._reading = reading
        self._room = room
        self._waiting: deque[ConsumerRecord] = deque()
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self.done: int | None = None
        """The next offset to read when all before were handled."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def count(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < self._reading.buffered

    def put(self, records: Iterable[ConsumerRecord]) -> None:
        """Queue what was read."""
        self._waiting.extend(records)
        self._came.set()

    async def close(self, seconds: float) -> None:
        """Forget what waits; wait for what runs, and cancel it when it takes too long."""
        self._closing.set()
        self._came.set()
        try:
            _, late = await asyncio.wait((self._task,), timeout=seconds)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if late:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while batch := await self._next():
            failed = await self._handled(batch)
            if not failed:
                self.done = batch[-1].offset + 1
                continue
            if self._reading.retry is not None:
                return  # closing: what failed is read again by whoever gets the partition
            passed = failed[0].offset if len(batch) > 1 else None
            if passed is not None and passed > batch[0].offset:
                self.done = passed

    async def _next(self) -> list[ConsumerRecord]:
        """The next batch; none when closing."""
        reading = self._reading
        while not self._waiting and not self._closing.is_set():
            self._came.clear()
            await self._came.wait()
        if len(self._waiting) < reading.batch and reading.batch_seconds:
            await self._gather()
        if self._closing.is_set():
            return []
        count = min(reading.batch, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(count)]
        self._room.set()
        return batch

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(self._reading.batch_seconds):
                while len(self._waiting) < self._reading.batch and not self._closing.is_set():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return

    async def _handled(self, batch: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        failed = await self._handler(batch)
        retry = self._reading.retry
        while failed and retry is not None and not self._closing.is_set():
            try:
                async with asyncio.timeout(retry):
                    await self._closing.wait()
            except TimeoutError:
                failed = await self._handler(failed)
        return failed


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """A live subscription to some topics."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topics: Sequence[str],
        handler: RecordHandler,
        reading: Reading,
    ) -> None:
        self._topics = list(topics)
        self._handler = handler
        self._reading = reading
        self._consumer = AIOKafkaConsumer(**settings.consuming(group))
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._room = asyncio.Event()
        self._joined = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self) -> None:
        """Join the group; returns when it said what is ours. Raises what kept it from that."""
        self._consumer.subscribe(self._topics, listener=self)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_JOIN_SECONDS):
                await self._consumer.start()
                await self._joined.wait()
        except BaseException:
            await self._stop()
            raise
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._keep_committing())]

    async def close(self) -> None:
        """Wait for what runs, tell the group how far we came, and leave it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._end_partitions(list(self._partitions), None)
        await self._stop()

    async def _stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._consumer.stop()
        except Exception as error:  # noqa: BLE001 - the brokers may be gone
            _LOG.debug("leaving the group: %s", error)

    # --- the group --------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """The group is shared anew: finish what runs."""
        await self._end_partitions(list(revoked), _REVOKE_SECONDS)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """These are ours now. A new group's position is written down at once: what is published
        while nobody reads is not missed.
        """
        for partition in assigned:
            try:
                if await self._consumer.committed(partition) is None:
                    offset = await self._consumer.position(partition)
                    await self._consumer.commit({partition: offset})
            except KafkaError as error:
                _LOG.warning("the position of %s could not be written down: %s", partition, error)
            self._partitions[partition] = _Partition(self._handler, self._reading, self._room)
        self._room.set()
        self._joined.set()

    async def _end_partitions(
        self, partitions: Sequence[TopicPartition], seconds: float | None
    ) -> None:
        ending = [self._partitions[one] for one in partitions if one in self._partitions]
        await asyncio.gather(*(one.close(seconds or 1e9) for one in ending))
        await self._commit()
        for one in partitions:
            self._partitions.pop(one, None)
            self._committed.pop(one, None)

    # --- reading ----------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            self._room.clear()
            ready = [one for one, found in self._partitions.items() if found.has_room]
            if not ready:
                await self._room.wait()
                continue
            try:
                await self._read_once(ready)
            except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                _LOG.warning("reading %s failed: %s", ", ".join(self._topics), error)
                await asyncio.sleep(_PAUSE)

    async def _read_once(self, ready: Sequence[TopicPartition]) -> None:
        found = await self._consumer.getmany(
            *ready, timeout_ms=_POLL_MS, max_records=self._reading.buffered
        )
        for one, records in found.items():
            partition = self._partitions.get(one)
            if partition is not None:
                partition.put(records)

    async def _keep_committing(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        """Tell the group how far we came; what it does not hear of is delivered again."""
        offsets = {
            one: found.done
            for one, found in self._partitions.items()
            if found.done is not None and found.done != self._committed.get(one)
        }
        if not offsets:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._consumer.commit(offsets)
        except (KafkaError, TimeoutError) as error:
            _LOG.warning("positions could not be written down: %s", error)
        else:
            self._committed.update(offsets)


def metadata_of(record: ConsumerRecord, *, escape: bool) -> Mapping[str, str]:
    """Headers, and where the message was."""
    found: dict[str, str] = {}
    for name, value in record.headers:
        text = (value or b"").decode("utf-8", "replace")
        found[name] = quote_plus(text) if escape else text
    if record.key:
        found["__key"] = record.key.decode("utf-8", "replace")
    described: dict[str, Any] = {
        "__offset": record.offset,
        "__topic": record.topic,
        "__timestamp": record.timestamp,
        "__partition": record.partition,
    }
    return found | {name: str(value) for name, value in described.items()}
