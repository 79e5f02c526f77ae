"""One SQLite database, used from one thread of its own; the loop never waits on a disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote

from dapr_common.paths import home_expanded

T = TypeVar("T")


class DatabaseError(Exception):
    """SQLite refused; the text names the database and what to do when that is known."""


class Database:
    """Runs functions against a connection, one after the other.

    ``location`` is a path or a ``file:`` URI, with the URI's parameters if there are any.
    ``timeout`` bounds each call (seconds) from the caller's side; the call itself is finished by
    the thread.
    """

    def __init__(
        self,
        location: str,
        *,
        busy_timeout: float = 2.0,
        timeout: float = 20.0,
        wal: bool = True,
    ) -> None:
        self._location = location
        self._busy_timeout = busy_timeout
        self._timeout = timeout
        self._wal = wal
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open or create the database. Raises ``DatabaseError``."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        try:
            await self._call(self._connect)
        except BaseException:
            await self.close()
            raise

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``function`` with the connection, in the database's thread.

        Raises ``DatabaseError``, or ``TimeoutError`` when the database is busy for too long.
        """

        def call() -> T:
            if self._connection is None:
                raise DatabaseError(f"sqlite database {self._location} is closed")
            return function(self._connection)

        return await self._call(call)

    async def close(self) -> None:
        """Finish what is queued, then close; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(thread, self._disconnect)
        thread.shutdown(wait=False)

    async def _call(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            raise DatabaseError(f"sqlite database {self._location} is closed")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._thread, function)
        except sqlite3.Error as error:
            raise DatabaseError(self._explained(error)) from error

    def _explained(self, error: sqlite3.Error) -> str:
        text = f"sqlite database {self._location}: {error}"
        code = getattr(error, "sqlite_errorname", "")
        if code == "SQLITE_FULL":
            return f"{text}: free some space, nothing was written"
        if code.startswith("SQLITE_CANTOPEN"):
            return f"{text}: check that the directory exists and may be written"
        if code.startswith("SQLITE_BUSY"):
            return f"{text}: another process holds it, raise busyTimeout if that is expected"
        return text

    def _connect(self) -> None:
        connection = sqlite3.connect(
            _uri(self._location),
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        if self._wal:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        self._connection = connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _uri(location: str) -> str:
    """The ``file:`` URI of a location; the folder of a plain path is made.

    A plain path ends at its ``?``, as in Dapr: what follows are parameters of the URI.
    """
    if location.startswith("file:"):
        return location
    path, mark, parameters = location.partition("?")
    if path != ":memory:":
        file = home_expanded(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        path = ("//" if file.is_absolute() else "") + quote(str(file))
    return f"file:{path}{mark}{parameters}"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: committed at the end, rolled back on an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")  # may fail, too: a full disk shows only here
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
