"""``pubsub.sqlite``: a durable broker in one file, shared by the processes of one machine.

Every consumer group gets every message from the time the group exists; the members of a group
compete. Messages are delivered at least once: a failed or abandoned delivery comes again. Order is
kept only with ``concurrency`` 1 and one process, and only among messages that do not fail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import orjson

from dapr_common.observe.logs import get_logger
from dapr_common.paths import home_expanded
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.consuming.workers import Workers
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.pubsub import sqlite_store as store
from dapr_sidecar.components.pubsub.base import (
    BulkHandler,
    BulkPublishEntry,
    Feature,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
    ttl_seconds,
)
from dapr_sidecar.components.pubsub.batching import Batcher
from dapr_sidecar.components.pubsub.sqlite_consumer import SqliteConsumer, SqliteLimits
from dapr_sidecar.components.pubsub.wake import WakeBell
from dapr_sidecar.components.sqlite.connection import Database, DatabaseError

_LOG = get_logger("dapr.contrib.pubsub.sqlite")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlitePubSubSettings:
    """Bare numbers of durations are seconds."""

    location: str = setting("connectionString", help="path of the file, or a file: URI")
    consumer_id: str = setting("consumerID", default="", help="the consumer group; the app id")
    concurrency: int = setting("concurrency", default=10, help="messages delivered at once")
    queue_depth: int = setting("queueDepth", default=100, help="messages read ahead")
    processing_timeout: timedelta = setting(
        "processingTimeout",
        default=timedelta(seconds=60),
        help="how long one delivery may take; 0 without end",
    )
    lease: timedelta = setting(
        "leaseDuration",
        default=timedelta(seconds=30),
        help="after this long without a sign of life a process's messages go to another",
    )
    redelivery_delay: timedelta = setting(
        "redeliveryDelay",
        default=timedelta(seconds=1),
        help="pause before a failed message comes again; doubles each time",
    )
    max_redelivery_delay: timedelta = setting(
        "maxRedeliveryDelay", default=timedelta(seconds=60), help="the longest such pause"
    )
    max_deliveries: int = setting(
        "maxDeliveries", default=0, help="a message is given up after this many; 0 never"
    )
    max_age: timedelta = setting(
        "maxAge", default=timedelta(days=7), help="older messages are deleted, delivered or not"
    )
    cleanup_interval: timedelta = setting(
        "cleanupInterval",
        default=timedelta(minutes=1),
        help="how often messages that every group finished are deleted",
    )
    poll_interval: timedelta = setting(
        "pollInterval", default=timedelta(seconds=5), help="how often to look without being woken"
    )
    busy_timeout: timedelta = setting(
        "busyTimeout", default=timedelta(seconds=10), help="how long to wait for the file's lock"
    )
    full_sync: bool = setting(
        "fullSync", default=False, help="survive a power cut, not only a crash; slower"
    )


class SqlitePubSub(PubSub):
    """One component on one file."""

    settings = SqlitePubSubSettings
    features = (Feature.MESSAGE_TTL,)

    def __init__(self, settings: SqlitePubSubSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        path = _path(settings.location)
        for name, given in (
            ("leaseDuration", settings.lease),
            ("pollInterval", settings.poll_interval),
        ):
            if given <= timedelta():
                raise SettingsError(f"invalid metadata field '{name}': it must be more than 0")
        self._config = settings
        self._group = settings.consumer_id.strip() or context.app_id
        self._database = Database(
            settings.location, busy_timeout=settings.busy_timeout.total_seconds()
        )
        self._bell = WakeBell(path, self._rung)
        self._concurrency = max(settings.concurrency, 1)
        self._workers = Workers(self._concurrency)
        self._consumers: dict[str, list[SqliteConsumer]] = {}
        self._new: list[tuple[store.NewMessage, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._cleaner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._database.open()
        if self._config.full_sync:
            await self._database.run(lambda found: found.execute("PRAGMA synchronous=FULL"))
        await self._database.run(store.create)
        try:
            self._bell.open()
        except OSError as error:
            seconds = self._config.poll_interval.total_seconds()
            _LOG.warning("new messages are noticed only every %gs: %s", seconds, error)
        self._cleaner = asyncio.get_running_loop().create_task(self._clean())

    async def close(self) -> None:
        if self._cleaner is not None:
            self._cleaner.cancel()
            await asyncio.wait([self._cleaner])
            self._cleaner = None
        if self._writer is not None:
            await asyncio.wait([self._writer])
        self._bell.close()  # after the last write, which rings
        await self._database.close()

    async def ping(self) -> None:
        await self._database.run(lambda found: found.execute("SELECT 1").fetchone())

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, request: PublishRequest) -> None:
        await self._store([_message(request.topic, request.data, request.metadata)])

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        """All or none are stored."""
        try:
            await self._store([_message(topic, entry.data, entry.metadata) for entry in entries])
        except Exception as error:  # noqa: BLE001 - told entry by entry
            return {entry.entry_id: error for entry in entries}
        return {}

    async def _store(self, messages: Sequence[store.NewMessage]) -> None:
        """Messages of callers that come while another write runs share the next transaction."""
        if not messages:
            return
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._new += [(message, stored) for message in messages]
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())
        await stored

    async def _write(self) -> None:
        try:
            while self._new:
                batch, self._new = self._new, []
                messages = [message for message, _ in batch]
                error: Exception | None = None
                try:
                    await self._database.run(partial(store.publish, messages=messages, now=_now()))
                except Exception as failure:  # noqa: BLE001 - told to whoever waits
                    error = failure
                for stored in {id(waiting): waiting for _, waiting in batch}.values():
                    if stored.done():
                        continue
                    if error is None:
                        stored.set_result(None)
                    else:
                        stored.set_exception(error)
                if error is None:
                    for topic in {message.topic for message in messages}:
                        self._bell.ring(topic)
        finally:
            self._writer = None

    # --- subscribing ------------------------------------------------------------------------

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        return await self._start(
            SqliteConsumer(
                self._database,
                store.Group(topic, self._group),
                handler,
                self._workers,
                self._limits(self._config.queue_depth),
                self._gone,
                self._bell.ring,
            )
        )

    async def bulk_subscribe(
        self,
        topic: str,
        metadata: Mapping[str, str],
        max_messages: int,
        max_await_seconds: float,
        handler: BulkHandler,
    ) -> Subscription:
        """Batches may be larger than ``concurrency``: what waits for its batch holds no worker."""
        batcher = Batcher(handler, max_messages, max_await_seconds)
        return await self._start(
            SqliteConsumer(
                self._database,
                store.Group(topic, self._group),
                batcher.handle,
                Workers(max(self._concurrency, max_messages)),
                self._limits(max(self._config.queue_depth, 2 * max_messages)),
                self._gone,
                self._bell.ring,
                flush=batcher.close,
            )
        )

    async def _start(self, consumer: SqliteConsumer) -> SqliteConsumer:
        await consumer.start()
        self._consumers.setdefault(consumer.topic, []).append(consumer)
        return consumer

    def _gone(self, consumer: SqliteConsumer) -> None:
        others = self._consumers.get(consumer.topic, [])
        if consumer in others:
            others.remove(consumer)

    def _rung(self, topic: str) -> None:
        for consumer in self._consumers.get(topic, ()):
            consumer.wake()

    def _limits(self, queue_depth: int) -> SqliteLimits:
        config = self._config
        return SqliteLimits(
            queue_depth=queue_depth,
            processing_timeout=config.processing_timeout.total_seconds(),
            lease=config.lease.total_seconds(),
            first_delay=config.redelivery_delay.total_seconds(),
            longest_delay=config.max_redelivery_delay.total_seconds(),
            max_deliveries=config.max_deliveries,
            poll=config.poll_interval.total_seconds(),
        )

    async def _clean(self) -> None:
        interval = max(self._config.cleanup_interval.total_seconds(), 0.1)
        max_age = int(self._config.max_age.total_seconds() * 1000)
        while True:
            await asyncio.sleep(interval)
            try:
                work = partial(store.clean, now=_now(), max_age=max_age)
                while await self._database.run(work) >= store.CLEAN_AT_ONCE:
                    pass
            except (DatabaseError, TimeoutError) as error:
                _LOG.warning("cleaning up failed, it is tried again later: %s", error)


def _now() -> int:
    return int(time.time() * 1000)


def _message(topic: str, data: bytes, metadata: Mapping[str, str] | None) -> store.NewMessage:
    topic.encode()  # a name that is no UTF-8 fails here, not with everybody's write
    text = None if metadata is None else orjson.dumps(dict(metadata)).decode()
    return store.NewMessage(topic, data, text, _expiry(metadata))


def _expiry(metadata: Mapping[str, str] | None) -> int | None:
    ttl = ttl_seconds(metadata)
    return None if ttl is None else min(_now() + ttl * 1000, 2**62)


def _path(location: str) -> Path:
    """The file behind a location. Raises ``SettingsError`` for what no two processes can share."""
    uri, (location, _, _) = location.startswith("file:"), location.partition("?")
    if uri:
        location = unquote(location[len("file:") :])
        location = "/" + location.lstrip("/") if location.startswith("//") else location
    if not location or ":memory:" in location:
        raise SettingsError(
            "invalid metadata field 'connectionString': expected the path of a file; "
            "for a broker in memory use pubsub.in-memory"
        )
    return home_expanded(location).resolve()
