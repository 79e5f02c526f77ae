"""Connections to a PostgreSQL server, each operation within its deadline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import asyncpg

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.postgresql.passwords import token_password
from dapr_sidecar.components.postgresql.settings import (
    PostgresSettings,
    QueryExecMode,
    connection_info,
)

T = TypeVar("T")
_DEFAULT_SECONDS = 20.0
_IDLE_SECONDS = 1800.0
_FEWEST_CONNECTIONS = 4
_CACHED_STATEMENTS = 100
_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""A ``TimeoutError`` is an ``OSError``, too."""

MADE_BY_ANOTHER = (
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateTableError,
    asyncpg.DuplicateObjectError,
)
"""What ``CREATE TABLE IF NOT EXISTS`` meets when two do it at the same moment."""


class Connection(Protocol):
    """What is used of a connection; the library has no types."""

    async def execute(self, sql: str, *values: Any) -> str: ...
    async def fetch(self, sql: str, *values: Any) -> Sequence[Any]: ...
    async def fetchrow(self, sql: str, *values: Any) -> Any: ...
    async def fetchval(self, sql: str, *values: Any) -> Any: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class PostgresError(Exception):
    """The server refused, or cannot be reached; the text says where."""


class Pool:
    """Runs functions with a connection. The constructor checks the settings, without I/O."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._info = connection_info(settings)
        self._password = token_password(settings, self._info)
        self._seconds = settings.timeout.total_seconds() or _DEFAULT_SECONDS
        self._caches = settings.query_exec_mode is QueryExecMode.CACHE_STATEMENT
        self._pool: Any = None

    async def open(self) -> None:
        """Connect once, to tell what is wrong. Raises ``PostgresError`` or ``SettingsError``."""
        info = self._info
        size = info.max_connections or max(_FEWEST_CONNECTIONS, os.cpu_count() or 1)
        try:
            self._pool = asyncpg.create_pool(
                info.url,
                min_size=0,
                max_size=size,
                max_inactive_connection_lifetime=info.max_idle_seconds or _IDLE_SECONDS,
                **self._options(),
            )
            await self._pool
            await self.run(lambda connection: connection.fetchval("SELECT 1"))
        except (asyncpg.ClientConfigurationError, asyncpg.InterfaceError) as error:
            raise SettingsError(f"invalid metadata field 'connectionString': {error}") from error
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Call ``work`` with a connection. Raises ``PostgresError``, also past the deadline."""
        if self._pool is None:
            raise self._closed()
        try:
            async with asyncio.timeout(self._seconds):
                connection = await self._pool.acquire()
                try:
                    return await work(connection)
                except (TimeoutError, asyncio.CancelledError):
                    # Its answer may still come, or never: it must not meet the next statement.
                    connection.terminate()
                    raise
                finally:
                    # What is reset then has a deadline of its own: without one, a silent server
                    # keeps the connection's place in the pool for ever.
                    await self._pool.release(connection, timeout=self._seconds)
        except asyncpg.ClientConfigurationError:
            raise
        except _FAILURES as error:
            if isinstance(error, TimeoutError) and self._pool is not None:
                # The idle ones may have died with it: else each costs another call its deadline.
                await self._pool.expire_connections()
            raise self._failure(error) from error

    async def dedicated(self) -> Any:
        """A connection of the caller's own, to be closed by it. Raises ``PostgresError``."""
        if self._pool is None:
            raise self._closed()
        try:
            return await asyncpg.connect(self._info.url, **self._options())
        except _FAILURES as error:
            raise self._failure(error) from error

    async def close(self) -> None:
        """Cut every connection; safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    def _options(self) -> dict[str, Any]:
        info = self._info
        found: dict[str, Any] = {
            "statement_cache_size": _CACHED_STATEMENTS if self._caches else 0,
            "timeout": min(info.connect_timeout or self._seconds, self._seconds),
        }
        return {**found, "password": self._password} if self._password else found

    def _closed(self) -> PostgresError:
        return PostgresError(f"the connections to postgres at {self._info.shown} are closed")

    def _failure(self, error: Exception) -> PostgresError:
        where = f"postgres at {self._info.shown}"
        if isinstance(error, TimeoutError):
            return PostgresError(f"{where} did not answer within {self._seconds:g} s")
        if isinstance(error, OSError):
            return PostgresError(f"{where} cannot be reached: {_reason(error)}")
        return PostgresError(f"{where}: {error}")


def _reason(error: OSError) -> str:
    # asyncio puts words of its own in place of the system's.
    if isinstance(error.errno, int) and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
