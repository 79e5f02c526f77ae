"""A member of a consumer group: partitions side by side, the messages of one in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.kafka.library import check_member, end_consumer, is_over
from dapr_sidecar.components.kafka.partition import Partition, Reading, RecordHandler
from dapr_sidecar.components.kafka.settings import KafkaSettings

__all__ = ["KafkaConsumer", "Reading", "RecordHandler", "metadata_of"]

_LOG = get_logger("dapr.contrib.kafka")
_COMMIT_SECONDS = 1.0
_POLL_MS = 500
_JOIN_SECONDS = 60.0
_REVOKE_SECONDS = 30.0
_COMMIT_CALL_SECONDS, _LAST_COMMIT_SECONDS = 10.0, 3.0
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LOOK_SECONDS = 5.0


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
        self._joining = settings.consuming(group)
        self._consumer = AIOKafkaConsumer(**self._joining)
        self._shown = f"kafka at {','.join(settings.brokers)}"
        self._partitions: dict[TopicPartition, Partition] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._room = asyncio.Event()
        self._joined = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the group; returns when it said what is ours. Raises what kept it from that."""
        await self._join()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read()), loop.create_task(self._keep_committing())]

    async def close(self) -> None:
        """Wait for what runs, tell the group how far we came, and leave it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._end_partitions(list(self._partitions), None)
        finally:
            await end_consumer(self._consumer)

    async def _join(self) -> None:
        consumer = self._consumer
        self._joined.clear()
        consumer.subscribe(self._topics, listener=self)
        try:
            async with within(_JOIN_SECONDS, f"{self._shown} let nobody into the group"):
                await consumer.start()
                await self._joined.wait()
        except BaseException:
            await end_consumer(consumer)
            raise

    async def _join_again(self) -> None:
        """Replace a member that the library gave up. Returns when there is another one."""
        pause = _PAUSE
        while True:
            await self._end_partitions(list(self._partitions), _REVOKE_SECONDS)
            await end_consumer(self._consumer)
            self._consumer = AIOKafkaConsumer(**self._joining)
            try:
                await self._join()
            except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                _LOG.warning("joining the group again failed: %s", error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                return

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
                async with within(_COMMIT_CALL_SECONDS, f"{self._shown} did not answer"):
                    if await self._consumer.committed(partition) is None:
                        offset = await self._consumer.position(partition)
                        await self._consumer.commit({partition: offset})
            except Exception as error:  # noqa: BLE001 - it is read all the same
                _LOG.warning("the position of %s could not be written down: %s", partition, error)
            self._partitions[partition] = Partition(self._handler, self._reading, self._room)
        self._room.set()
        self._joined.set()

    async def _end_partitions(
        self, partitions: Sequence[TopicPartition], seconds: float | None
    ) -> None:
        ending = [self._partitions[one] for one in partitions if one in self._partitions]
        await asyncio.gather(*(one.close(seconds or 1e9) for one in ending))
        await self._commit(_LAST_COMMIT_SECONDS)
        for one in partitions:
            self._partitions.pop(one, None)
            self._committed.pop(one, None)

    # --- reading ----------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            self._room.clear()
            ready = [one for one, found in self._partitions.items() if found.has_room]
            try:
                await (self._read_once(ready) if ready else self._wait_for_room())
            except Exception as error:  # noqa: BLE001 - a subscription never ends by itself
                _LOG.warning("reading %s failed: %s", ", ".join(self._topics), error)
                await asyncio.sleep(_PAUSE)
                if is_over(self._consumer):
                    await self._join_again()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._room.wait()
        except TimeoutError:
            check_member(self._consumer)

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
            await self._commit(_COMMIT_CALL_SECONDS)

    async def _commit(self, seconds: float) -> None:
        """Tell the group how far we came; what it does not hear of is delivered again."""
        offsets = {
            one: found.done
            for one, found in self._partitions.items()
            if found.done is not None and found.done != self._committed.get(one)
        }
        if not offsets:
            return
        try:
            async with within(seconds, f"{self._shown} did not answer"):
                await self._consumer.commit(offsets)
        except (KafkaError, OSError) as error:
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
