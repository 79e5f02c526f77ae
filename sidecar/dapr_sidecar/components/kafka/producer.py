"""Publishing to Kafka: keys, partitions and headers as Dapr's Go sidecars choose them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from dapr_sidecar.components.consuming.calls import within
from dapr_sidecar.components.kafka.library import end_producer, is_given_up
from dapr_sidecar.components.kafka.settings import Compression, KafkaSettings, RequiredAcks

_ACKS = {RequiredAcks.ALL: "all", RequiredAcks.ONE: 1, RequiredAcks.NONE: 0}
_FNV_OFFSET, _FNV_PRIME, _32_BITS = 2166136261, 16777619, 0xFFFFFFFF


def partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """The partition of a key: FNV-1a, as a signed number modulo the partitions.

    The same key goes to the same partition whichever sidecar publishes it.
    """
    if key is None:
        return random.choice(available or partitions)  # noqa: S311 - spreads load, hides nothing
    digest = _FNV_OFFSET
    for byte in key:
        digest = ((digest ^ byte) * _FNV_PRIME) & _32_BITS
    signed = digest - (1 << 32) if digest >= 1 << 31 else digest
    return partitions[abs(signed) % len(partitions)]


class KafkaProducer:
    """One producer of a component."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._deadline = settings.read_timeout.total_seconds() + 10
        self._shown = f"kafka at {','.join(settings.brokers)}"

    async def open(self) -> None:
        """Connect. Raises ``ConnectionError`` or ``KafkaError``."""
        async with self._described():
            self._producer = await self._started()

    async def _started(self) -> AIOKafkaProducer:
        settings = self._settings
        packed = settings.compression
        producer = AIOKafkaProducer(
            **settings.connection(),
            acks=_ACKS[settings.required_acks],
            compression_type=None if packed is Compression.NONE else packed.value,
            max_request_size=settings.max_message_bytes,
            partitioner=partition_of,
        )
        try:
            await producer.start()
        except BaseException:
            await end_producer(producer)
            raise
        return producer

    async def _working(self) -> AIOKafkaProducer:
        """The producer; another one when the library gave it up."""
        assert self._producer is not None
        if is_given_up(self._producer):
            async with self._renewing:
                if is_given_up(old := self._producer):
                    self._producer = await self._started()
                    await end_producer(old)
        return self._producer

    async def close(self) -> None:
        """Send what is under way, for a few seconds at most, and end; safe to call twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_producer(producer)

    async def ping(self) -> None:
        """Raises when no broker answers."""
        async with self._described():
            await (await self._working()).client.fetch_all_metadata()

    async def send(self, topic: str, data: bytes, metadata: Mapping[str, str] | None) -> None:
        """Returns when as many brokers have it as ``producerRequiredAcks`` says.

        Raises ``ConnectionError``, also past the deadline, or ``KafkaError``.
        """
        given = metadata or {}
        lower = {name.lower(): value for name, value in given.items()}
        key = lower.get("partitionkey") or lower.get("__key")
        async with self._described():
            producer = await self._working()
            await producer.send_and_wait(
                topic,
                data,
                key=key.encode() if key else None,
                partition=_partition(lower.get("partitionnumber", "")),
                headers=headers(given, self._settings.exclude_headers),
            )

    @asynccontextmanager
    async def _described(self) -> AsyncIterator[None]:
        """The deadline, and errors that say where the brokers were looked for."""
        try:
            async with within(self._deadline, f"{self._shown} did not answer"):
                yield
        except KafkaError as error:
            if not error.retriable and not isinstance(error, KafkaTimeoutError):
                raise
            raise ConnectionError(f"{self._shown}: {error}") from error


def headers(
    metadata: Mapping[str, str], excluded: re.Pattern[str] | None
) -> list[tuple[str, bytes]]:
    """Every pair of the metadata, but for names that the manifest excludes."""
    return [
        (name, value.encode())
        for name, value in metadata.items()
        if excluded is None or not excluded.search(name)
    ]


def _partition(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"invalid metadata 'partitionNumber': '{text}': expected a whole number")
    return int(text)
