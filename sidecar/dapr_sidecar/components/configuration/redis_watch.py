"""One subscription's watch over Redis keys, by keyspace notifications on a connection of its own.

Redis keeps no notifications for a client that is away: after a lost connection every watched key
counts as changed, so that no change is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.configuration.changes import ChangedKeys
from dapr_sidecar.components.reconnecting import keep_connected
from dapr_sidecar.components.redis.client import RedisClient, close_quietly
from dapr_sidecar.components.redis.connection import (
    RedisConnection,
    RedisConnectionError,
    RedisError,
)

_LOG = get_logger("dapr.contrib.configuration.redis")
_EVENTS = "Kg$xe"  # keyspace channel; generic, string, expired and evicted events
_ALL = "A"  # Redis' word for every class of events
_CONFIRM_SECONDS = 5.0
_PING_SECONDS = 10.0

ChangeHandler = Callable[[bytes], Awaitable[None]]
KeyLister = Callable[[], Awaitable[Sequence[bytes]]]


class KeyWatch:
    """Calls ``on_change`` with each key that changed, one after the other."""

    def __init__(
        self,
        component: str,
        client: RedisClient,
        database: int,
        keys: Sequence[str],
        on_change: ChangeHandler,
        list_all: KeyLister,
    ) -> None:
        """``component`` is the store's name, for the log. ``keys`` empty: every key of the
        database; ``list_all`` then names those there are.
        """
        self._component = component
        self._client = client
        self._prefix = f"__keyspace@{database}__:".encode()
        self._keys = [key.encode("utf-8", "surrogateescape") for key in keys]
        self._list_all = list_all
        self._changes = ChangedKeys(
            _LOG, component, on_change, self._every_key, (RedisConnectionError,)
        )
        self._connection: RedisConnection | None = None
        self._lost = asyncio.Event()
        self._heard = 0.0
        self._unconfirmed = 0
        self._confirmed: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to watch. Raises ``RedisError`` or ``RedisConnectionError``."""
        await self._listen()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(
                keep_connected(
                    f"component '{self._component}': the connection for configuration updates",
                    _LOG,
                    self._until_lost,
                    self._listen_again,
                ),
                name="configuration watch",
            ),
            loop.create_task(self._changes.run(), name="configuration updates"),
        ]

    async def close(self) -> None:
        """Stop at once; an update under way is given up. Safe to call twice."""
        tasks, self._tasks = self._tasks, []
        here = asyncio.current_task()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not here), return_exceptions=True)
        await close_quietly(self._connection)

    # --- connection -------------------------------------------------------------------------

    async def _listen(self) -> None:
        await self._enable_events()
        self._lost.clear()
        confirmed = self._confirmed = asyncio.get_running_loop().create_future()
        self._unconfirmed = max(len(self._keys), 1)
        connection = await self._client.dedicated(on_lost=self._disconnected)
        self._connection = connection
        connection.push = self._received
        if self._keys:
            connection.write("SUBSCRIBE", *(self._prefix + key for key in self._keys))
        else:
            connection.write("PSUBSCRIBE", self._prefix + b"*")
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await confirmed
        except TimeoutError as error:
            await close_quietly(connection)
            raise RedisConnectionError(
                f"{connection.shown} did not confirm the subscription"
            ) from error
        except BaseException:
            await close_quietly(connection)
            raise

    async def _enable_events(self) -> None:
        """Switch on the events that are off; those that others asked for stay on."""
        try:
            reply = await self._client.command("CONFIG", "GET", "notify-keyspace-events")
            now = reply[1].decode() if len(reply) > 1 else ""
            missing = [c for c in _EVENTS if c not in now and (c == "K" or _ALL not in now)]
            if missing:
                wanted = now + "".join(missing)
                await self._client.command("CONFIG", "SET", "notify-keyspace-events", wanted)
        except RedisError as error:
            # Hosted servers refuse CONFIG; whoever runs them may have switched events on.
            _LOG.debug(
                "component '%s': keyspace notifications could not be switched on: %s",
                self._component,
                error,
            )

    async def _listen_again(self) -> None:
        await close_quietly(self._connection)
        await self._listen()
        self._changes.mark_all()

    async def _until_lost(self) -> None:
        """Return once the connection broke or its peer no longer answers."""
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        assert self._connection is not None
        while True:
            try:
                await asyncio.wait_for(self._lost.wait(), _PING_SECONDS)
            except TimeoutError:
                if loop.time() - self._heard > 2 * _PING_SECONDS:
                    return
                self._connection.write("PING")
            else:
                return

    def _received(self, reply: Any) -> None:
        self._heard = asyncio.get_running_loop().time()
        if isinstance(reply, Exception):
            self._settle(RedisError(str(reply)))
            return
        kind = reply[0]
        if kind in (b"message", b"pmessage"):
            self._changes.mark(reply[-2][len(self._prefix) :])
        elif kind in (b"subscribe", b"psubscribe"):
            self._unconfirmed -= 1
            if self._unconfirmed <= 0:
                self._settle(None)

    def _disconnected(self, connection: RedisConnection) -> None:
        if connection is self._connection or self._connection is None:
            self._lost.set()
            self._settle(RedisConnectionError(f"connection to {connection.shown} lost"))

    def _settle(self, error: Exception | None) -> None:
        confirmed, self._confirmed = self._confirmed, None
        if confirmed is None or confirmed.done():
            if error is not None:
                self._lost.set()
        elif error is None:
            confirmed.set_result(None)
        else:
            confirmed.set_exception(error)
            confirmed.exception()  # seen: the waiter may have been cancelled

    async def _every_key(self) -> Sequence[bytes]:
        return self._keys or await self._list_all()
