"""One subscription's rows: what it has seen of them, and what it has still to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.configuration.base import Item, UpdateHandler
from dapr_sidecar.components.configuration.changes import ChangedKeys
from dapr_sidecar.components.postgresql.pool import PostgresError

_LOG = get_logger("dapr.contrib.configuration.postgresql")

Read = Callable[[Sequence[str]], Awaitable[Mapping[str, Item]]]


class RowWatch:
    """Tells ``handler`` of each key of which ``changed`` was called, as its row is by then.

    It keeps a fingerprint of every row, so that after notifications were missed it tells of those
    that are different, and of no others.
    """

    def __init__(
        self,
        component: str,
        channel: str,
        keys: Sequence[str],
        read: Read,
        handler: UpdateHandler,
    ) -> None:
        """``component`` is the store's name. ``keys`` empty: every key of the table."""
        self.channel = channel
        self._keys = frozenset(keys)
        self._read = read
        self._handler = handler
        self._changes = ChangedKeys(_LOG, component, self._tell, self._different, (PostgresError,))
        self._seen: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what there is, and begin to tell what changes. Raises ``PostgresError``."""
        found = await self._read(list(self._keys))
        self._seen = {key: _fingerprint(item) for key, item in found.items()}
        self._task = asyncio.create_task(self._changes.run(), name="configuration updates")

    async def close(self) -> None:
        """Stop at once; an update under way is given up. Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            if task is not asyncio.current_task():
                await asyncio.gather(task, return_exceptions=True)

    def changed(self, key: str | None) -> None:
        """This key was written or deleted; ``None``: some may have been."""
        if key is None:
            self._changes.mark_all()
        elif not self._keys or key in self._keys:
            self._changes.mark(key)

    async def _tell(self, key: str) -> None:
        item = (await self._read([key])).get(key)
        if item is None:
            self._seen.pop(key, None)
        else:
            self._seen[key] = _fingerprint(item)
        await self._handler({key: item or Item()})

    async def _different(self) -> list[str]:
        found = await self._read(list(self._keys))
        now = {key: _fingerprint(item) for key, item in found.items()}
        return [key for key in now.keys() | self._seen if now.get(key) != self._seen.get(key)]


def _fingerprint(item: Item) -> int:
    return hash((item.value, item.version, frozenset(item.metadata.items())))
