"""``configuration.redis``: plain string keys, ``value||version``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.configuration.base import ConfigurationStore, Item, UpdateHandler
from dapr_sidecar.components.configuration.redis_watch import KeyWatch
from dapr_sidecar.components.redis.client import RedisClient
from dapr_sidecar.components.redis.settings import LongPauseRedisSettings

_SEPARATOR = b"||"
_AT_ONCE = 1000


class RedisConfigurationStore(ConfigurationStore):
    """Keys of one database, shared by all apps; changes come by keyspace notifications."""

    settings: ClassVar[type[Any]] = LongPauseRedisSettings

    def __init__(self, settings: LongPauseRedisSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._client = RedisClient(settings)
        self._database = settings.database
        self._watches: dict[str, KeyWatch] = {}

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        watches, self._watches = self._watches, {}
        await asyncio.gather(*(watch.close() for watch in watches.values()))
        await self._client.close()

    async def ping(self) -> None:
        await self._client.ping()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Item]:
        wanted = [key.encode("utf-8", "surrogateescape") for key in keys]
        found: dict[str, Item] = {}
        for at in range(0, len(wanted := wanted or await self._all_keys()), _AT_ONCE):
            part = wanted[at : at + _AT_ONCE]
            # MGET answers nil for what is no string; GET would fail.
            for key, raw in zip(part, await self._client.command("MGET", *part), strict=True):
                if raw:
                    found[_text(key)] = _item(raw)
        return found

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> str:
        watch = KeyWatch(
            self._context.name,
            self._client,
            self._database,
            keys,
            partial(self._changed, handler),
            self._all_keys,
        )
        await watch.start()
        subscription_id = str(uuid.uuid4())
        self._watches[subscription_id] = watch
        return subscription_id

    async def unsubscribe(self, subscription_id: str) -> None:
        await self._watches.pop(subscription_id).close()

    async def _changed(self, handler: UpdateHandler, key: bytes) -> None:
        (raw,) = await self._client.command("MGET", key)
        await handler({_text(key): _item(raw) if raw else Item()})

    async def _all_keys(self) -> list[bytes]:
        """Every key, found piece by piece: ``KEYS *`` would stop the server for everybody."""
        found: dict[bytes, None] = {}
        cursor = b"0"
        while True:
            cursor, page = await self._client.command("SCAN", cursor, "COUNT", _AT_ONCE)
            found.update(dict.fromkeys(page))
            if cursor == b"0":
                return list(found)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _item(raw: bytes) -> Item:
    parts = raw.split(_SEPARATOR, 2)
    return Item(_text(parts[0]), _text(parts[1]) if len(parts) > 1 else "")
