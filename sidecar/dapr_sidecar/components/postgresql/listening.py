"""Notifications of a server (``LISTEN``), heard on one connection that comes back when it is lost.

The server keeps no notifications for who is away: whoever listens is told when some may be missed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.postgresql.pool import Pool, PostgresError
from dapr_sidecar.components.reconnecting import keep_connected

_LOG = get_logger("dapr.contrib.postgresql")
_PING_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Listener:
    """Calls ``heard`` with channel and payload, and ``restored`` after the connection was lost."""

    def __init__(
        self,
        component: str,
        pool: Pool,
        heard: Callable[[str, str], None],
        restored: Callable[[], None],
    ) -> None:
        """``component`` is the name of who listens, for the log."""
        self._component = component
        self._pool = pool
        self._heard = heard
        self._restored = restored
        self._channels: Counter[str] = Counter()
        self._connection: Any = None
        self._lost = asyncio.Event()
        self._lock = asyncio.Lock()  # one statement at a time on the connection
        self._keeper: asyncio.Task[None] | None = None
        self._is_over = False

    async def add(self, channel: str) -> None:
        """Listen to a channel, as often as it is added. Raises ``PostgresError``."""
        async with self._lock:
            is_new = not self._channels[channel]
            self._channels[channel] += 1
            try:
                if not await self._connect() and is_new:
                    await self._listen(channel)
            except BaseException:
                self._forget(channel)
                raise
            if self._keeper is None:
                self._keeper = asyncio.create_task(
                    keep_connected(
                        f"component '{self._component}': the connection for notifications",
                        _LOG,
                        self._until_lost,
                        self._connect_again,
                    ),
                    name="postgresql listener",
                )

    async def remove(self, channel: str) -> None:
        """Listen to it once less; nothing is heard of a channel that nobody added."""
        async with self._lock:
            self._forget(channel)
            if not self._channels:
                await self._end()
            elif not self._channels[channel] and self._is_connected():
                try:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await self._connection.remove_listener(channel, self._notified)
                except _FAILURES:
                    self._connection.terminate()  # the next one does not listen to it

    async def close(self) -> None:
        """End at once; safe to call twice."""
        self._is_over = True
        await self._end()

    # --- the connection ---------------------------------------------------------------------

    def _is_connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def _connect(self) -> bool:
        """Make sure that there is a connection; whether it is a new one."""
        if self._is_connected():
            return False
        is_first = self._connection is None
        connection = await self._pool.dedicated()
        if self._is_over:
            connection.terminate()
            raise PostgresError("the connection for notifications is closed")
        self._lost.clear()
        self._connection = connection
        connection.add_termination_listener(self._terminated)
        for channel in list(self._channels):
            await self._listen(channel)
        if not is_first:
            self._restored()
        return True

    async def _listen(self, channel: str) -> None:
        connection = self._connection
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.add_listener(channel, self._notified)
        except _FAILURES as error:
            connection.terminate()
            raise PostgresError(f"channel '{channel}' cannot be listened to: {error}") from error
        except BaseException:
            connection.terminate()  # its answer may still come
            raise

    async def _connect_again(self) -> None:
        async with self._lock:
            await self._connect()

    async def _until_lost(self) -> None:
        """Return once the connection broke or its peer no longer answers."""
        while self._is_connected():
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                await self._ping()
            else:
                self._lost.clear()

    async def _ping(self) -> None:
        async with self._lock:
            if not self._is_connected():
                return
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._connection.fetchval("SELECT 1")
            except _FAILURES:
                self._connection.terminate()

    async def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    # --- what the connection tells ----------------------------------------------------------

    def _notified(self, connection: object, process: int, channel: str, payload: str) -> None:
        self._heard(channel, payload)

    def _terminated(self, connection: object) -> None:
        if connection is self._connection:
            self._lost.set()

    def _forget(self, channel: str) -> None:
        self._channels[channel] -= 1
        if self._channels[channel] <= 0:
            del self._channels[channel]
