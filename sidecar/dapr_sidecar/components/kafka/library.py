"""What has to be known of the client library's inside: ends, and members that it gave up.

The library waits for its brokers, and when it is not let it leaves tasks and connections behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.contrib.kafka")
_SECONDS = 3.0
_FORCED_SECONDS = 2.0


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Send what is under way, for a few seconds at most, and close."""
    try:
        async with asyncio.timeout(_SECONDS):
            await producer.stop()
    except Exception as error:  # noqa: BLE001 - whatever it was, nothing may stay behind
        _LOG.debug("closing a producer: %s", error)
        await _forced(_end_sending(producer))


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group, when it can be told within a few seconds, and close; safe to call twice."""
    try:
        async with asyncio.timeout(_SECONDS):
            await consumer.stop()
    except Exception as error:  # noqa: BLE001 - as above
        _LOG.debug("leaving the group: %s", error)
        await _forced(_end_reading(consumer))


def check_member(consumer: Any) -> None:
    """Raise what keeps a member out of its group. The library tells it to those who read, and
    does nothing more before it has.
    """
    if consumer._coordinator is not None:  # noqa: SLF001
        consumer._coordinator.check_errors()  # noqa: SLF001


def is_over(consumer: Any) -> bool:
    """Whether the library gave the member up, for an error that it did not expect."""
    return _has_ended(getattr(consumer._coordinator, "_coordination_task", None))  # noqa: SLF001


def is_given_up(producer: Any) -> bool:
    """Whether the library has stopped sending, for an error that it did not expect."""
    return _has_ended(producer._sender.sender_task)  # noqa: SLF001


def _has_ended(task: asyncio.Task[Any] | None) -> bool:
    if task is None or not task.done():
        return False
    if not task.cancelled():
        task.exception()  # looked at: asyncio complains of those that nobody did
    return True


async def _end_sending(producer: Any) -> None:
    producer._message_accumulator.fail_all(KafkaConnectionError("closed"))  # noqa: SLF001
    # Requests under way end with their connections.
    sending = producer._sender.sender_task  # noqa: SLF001
    await asyncio.gather(producer.client.close(), _ended(sending))


async def _end_reading(consumer: Any) -> None:
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task")
    tasks = [getattr(coordinator, name, None) for name in names]
    await asyncio.gather(consumer._client.close(), _ended(*tasks))  # noqa: SLF001
    if fetcher is not None:
        await fetcher.close()


async def _ended(*tasks: asyncio.Task[Any] | None) -> None:
    ending = [task for task in tasks if task is not None]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def _forced(work: Any) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_FORCED_SECONDS):
            await work
