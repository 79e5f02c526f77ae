"""The client that Redis components share: one auto-pipelining connection, reconnected on loss."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable, Sequence
from typing import Any

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.redis.connection import (
    Argument,
    RedisConnection,
    RedisConnectionError,
    RedisError,
    packed,
)
from dapr_sidecar.components.redis.dialing import Dialer, OnLost
from dapr_sidecar.components.redis.settings import RedisSettings


class Script:
    """A Lua script, run by its hash and sent whole only when the server does not know it."""

    __slots__ = ("_heads", "sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._heads: dict[tuple[int, int], bytes] = {}

    def packed(self, keys: Sequence[Argument], arguments: Sequence[Argument]) -> bytes:
        """The EVALSHA command as it is sent; packing it here costs less than in the library."""
        counts = (len(keys), len(arguments))
        head = self._heads.get(counts)
        if head is None:
            size = b"*%d\r\n" % (3 + sum(counts))
            head = self._heads[counts] = packed(size, ("EVALSHA", self.sha, counts[0]))
        return packed(head, (*keys, *arguments))


class RedisClient:
    """Commands to one Redis server.

    Example::

        client = RedisClient(settings)
        await client.open()
        value = await client.command("GET", key)

    Connecting is retried ``redisMaxRetries`` times; a command that may have reached the server is
    never sent twice.
    """

    def __init__(self, settings: RedisSettings) -> None:
        if settings.type.lower() == "cluster":
            raise SettingsError(
                "invalid metadata field 'redisType': 'cluster': this component cannot use one yet: "
                "expected node"
            )
        self._settings = settings
        self._dialer = Dialer(settings)
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[RedisConnection] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect and check the credentials. Raises ``RedisConnectionError`` or ``RedisError``."""
        await self._connected()

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def command(self, *arguments: Argument) -> Awaitable[Any]:
        """Run one command. Awaiting raises ``RedisError`` or ``RedisConnectionError``."""
        connection = self._connection
        if connection is None or connection.lost or connection.congested:
            return self._command_later(arguments)
        return connection.send(*arguments)

    async def _command_later(self, arguments: Sequence[Argument]) -> Any:
        connection = await self._ready()
        return await connection.send(*arguments)

    async def _ready(self) -> RedisConnection:
        connection = await self._connected()
        if connection.congested:
            await connection.writable()
        return connection

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands one after the other; failures are exceptions in the list."""
        connection = await self._ready()
        futures = connection.send_all(commands)
        return list(await asyncio.gather(*futures, return_exceptions=True))

    async def transaction(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Run commands in MULTI/EXEC; errors inside are ``hiredis`` error values in the list."""
        connection = await self._connected()
        futures = connection.send_all([("MULTI",), *commands, ("EXEC",)])
        results: list[Any] = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return list(results[-1] or [])

    async def run(
        self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> Any:
        """Run a script."""
        connection = self._connection
        if connection is None or connection.lost or connection.congested:
            connection = await self._ready()
        try:
            return await connection.send_packed(script.packed(keys, arguments))
        except RedisError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await self.command("EVAL", script.text, len(keys), *keys, *arguments)

    async def wait_for_replicas(self, key: str, replicas: int, milliseconds: int) -> None:
        """Wait until replicas have what was written; ``key`` matters in a cluster only."""
        await self.command("WAIT", replicas, milliseconds)

    async def ping(self) -> None:
        """Raise when the server does not answer."""
        await self.command("PING")

    async def dedicated(self, on_lost: OnLost | None = None) -> RedisConnection:
        """A connection of its own, for blocking reads and subscriptions; the caller closes it."""
        return await self._dialer.dial(None, on_lost)

    # --- connecting -------------------------------------------------------------------------

    async def _connected(self) -> RedisConnection:
        connection = self._connection
        if connection is not None and not connection.lost:
            return connection
        if self._closed:
            raise RedisConnectionError("redis client is closed")
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._connect_done)
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not connecting.cancelled() or (task is not None and task.cancelling()):
                raise
            # Closed meanwhile: whoever waits was not cancelled.
            raise RedisConnectionError("redis client is closed") from None

    def _connect_done(self, task: asyncio.Task[RedisConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()

    async def _connect(self) -> RedisConnection:
        settings = self._settings
        delay = settings.min_retry_interval.total_seconds()
        longest = settings.max_retry_interval.total_seconds()
        for attempt in range(max(settings.max_retries, 0) + 1):
            try:
                timeout = settings.read_timeout.total_seconds()
                connection = await self._dialer.dial(timeout if timeout > 0 else None)
            except RedisConnectionError:
                if attempt == max(settings.max_retries, 0):
                    raise
                await asyncio.sleep(delay * (0.5 + random.random() / 2))  # noqa: S311 - jitter
                delay = min(delay * 2, longest)
                continue
            self._connection = connection
            return connection
        raise AssertionError("unreachable")


async def close_quietly(connection: RedisConnection | None) -> None:
    """Close a dedicated connection, whatever state it is in."""
    if connection is not None:
        with contextlib.suppress(RedisConnectionError):
            connection.abort()
