"""New connections to a Redis server, found directly or through its sentinels."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable

from dapr_sidecar.components.redis.connection import (
    RedisConnection,
    RedisConnectionError,
    RedisError,
)
from dapr_sidecar.components.redis.settings import RedisSettings

OnLost = Callable[[RedisConnection], None]


class Dialer:
    """Makes connections that are ready for commands. The constructor checks the settings."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._sentinels = settings.sentinels()
        self._address = ("", 0) if self._sentinels else settings.address()
        self._tls = settings.tls()

    async def dial(
        self, reply_timeout: float | None, on_lost: OnLost | None = None
    ) -> RedisConnection:
        """Connect and log in. Raises ``RedisConnectionError`` or ``RedisError``."""
        host, port = await self._find_master() if self._sentinels else self._address
        connection = await self._connect(host, port, reply_timeout, on_lost)
        try:
            async with asyncio.timeout(self._settings.dial_timeout.total_seconds()):
                await self._greet(connection)
                if self._sentinels:
                    await _require_master(connection)
        except TimeoutError as error:
            connection.abort()
            raise _silent(host, port) from error
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connect(
        self, host: str, port: int, reply_timeout: float | None, on_lost: OnLost | None = None
    ) -> RedisConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.dial_timeout.total_seconds()):
                _, connection = await loop.create_connection(
                    lambda: RedisConnection(loop, reply_timeout, on_lost, shown=_shown(host, port)),
                    host,
                    port,
                    ssl=self._tls,
                )
        except TimeoutError as error:
            raise RedisConnectionError(f"dial tcp {host}:{port}: i/o timeout") from error
        except OSError as error:
            raise RedisConnectionError(
                f"error connecting to {_shown(host, port)}: {_reason(error)}"
            ) from error
        return connection

    async def _greet(self, connection: RedisConnection) -> None:
        settings = self._settings
        try:
            if settings.password or settings.username:
                await _log_in(connection, settings.username, settings.password)
            if settings.database:
                await connection.send("SELECT", settings.database)
            if not (settings.password or settings.database):
                await connection.send("PING")
        except RedisError as error:
            raise RedisError(f"error connecting to {connection.shown}: {error}") from error

    # --- sentinels --------------------------------------------------------------------------

    async def _find_master(self) -> tuple[str, int]:
        name = self._settings.sentinel_master_name
        reasons = []
        for host, port in self._sentinels:
            try:
                found = await self._ask(host, port, name)
            except (RedisError, RedisConnectionError) as error:
                reasons.append(f"sentinel {host}:{port}: {error}")
                continue
            if found is not None:
                return found
            reasons.append(f"sentinel {host}:{port} does not know it")
        raise RedisConnectionError(f"no server found for '{name}': {'; '.join(reasons)}")

    async def _ask(self, host: str, port: int, name: str) -> tuple[str, int] | None:
        settings = self._settings
        seconds = settings.dial_timeout.total_seconds()
        connection = await self._connect(host, port, None)
        try:
            async with asyncio.timeout(seconds):
                if settings.sentinel_password:
                    await _log_in(
                        connection, settings.sentinel_username, settings.sentinel_password
                    )
                reply = await connection.send("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        except TimeoutError as error:
            raise _silent(host, port) from error
        finally:
            connection.abort()
        return None if reply is None else (reply[0].decode(), int(reply[1]))


async def _log_in(connection: RedisConnection, username: str, password: str) -> None:
    await connection.send("AUTH", *((username,) if username else ()), password)


async def _require_master(connection: RedisConnection) -> None:
    # Sentinels may still name a server that lost its place, or one that has not got it yet.
    role = await connection.send("ROLE")
    if role[0] != b"master":
        raise RedisConnectionError(f"{connection.shown} is not the master now")


def _shown(host: str, port: int) -> str:
    return f"redis at [{host}]:{port}" if ":" in host else f"redis at {host}:{port}"


def _silent(host: str, port: int) -> RedisConnectionError:
    return RedisConnectionError(
        f"{_shown(host, port)} takes connections but does not answer: i/o timeout"
    )


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error)
    # asyncio puts words of its own in place of the system's.
    if isinstance(error.errno, int) and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
