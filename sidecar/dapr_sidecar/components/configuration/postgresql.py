"""``configuration.postgresql``: rows of one table; a trigger of it notifies of changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import asyncpg
import orjson

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.configuration.base import ConfigurationStore, Item, UpdateHandler
from dapr_sidecar.components.configuration.postgresql_watch import RowWatch
from dapr_sidecar.components.metadata import SettingsError, setting
from dapr_sidecar.components.postgresql.listening import Listener
from dapr_sidecar.components.postgresql.names import table_name
from dapr_sidecar.components.postgresql.pool import Pool, PostgresError
from dapr_sidecar.components.postgresql.settings import PostgresSettings

_LOG = get_logger("dapr.contrib.configuration.postgresql")
_CHANNEL = "pgNotifyChannel"
_LONGEST_CHANNEL = 63
# The highest version counts. Versions are texts, and 10 comes after 9 all the same.
_NEWEST = """
SELECT DISTINCT ON (key) key::text, value::text, version::text, metadata::text
FROM {table} {where}
ORDER BY key, CASE WHEN version::text ~ '^[0-9]+$' THEN version::text::numeric END DESC NULLS LAST,
    version::text DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConfigurationSettings(PostgresSettings):
    """What this store takes besides what leads to the database."""

    table: str = setting(
        "table", help="table with the columns key, value, version and metadata (JSON)"
    )
    notify_channel: str = setting(
        "notifyChannel",
        default="",
        help="channel of subscriptions that name none in their metadata `pgNotifyChannel`",
    )
    max_idle_time: timedelta = setting(
        "connectionMaxIdleTime",
        aliases=("connMaxIdleTime",),
        default=timedelta(0),
        help="how long a connection is kept without work; 0 for a default",
    )


class PostgresConfigurationStore(ConfigurationStore):
    """Notifications are JSON such as `{"table": "t", "action": "UPDATE", "data": {"key": "k"}}`."""

    settings: ClassVar[type[Any]] = PostgresConfigurationSettings

    def __init__(self, settings: PostgresConfigurationSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._table = table_name("table", settings.table)
        if settings.notify_channel:
            _check_channel(settings.notify_channel, "metadata field 'notifyChannel'")
        self._channel = settings.notify_channel
        self._some = _NEWEST.format(table=self._table, where="WHERE key = ANY($1::text[])")
        self._every = _NEWEST.format(table=self._table, where="")
        self._pool = Pool(settings)
        self._listener = Listener(context.name, self._pool, self._heard, self._restored)
        self._watches: dict[str, RowWatch] = {}

    async def open(self) -> None:
        await self._pool.open()
        try:
            await self._rows(self._some, [])  # no rows, but the table has to be there
        except PostgresError as error:
            await self._pool.close()
            if isinstance(error.__cause__, asyncpg.SyntaxOrAccessError):
                raise SettingsError(
                    f"invalid metadata field 'table': '{self._table}': expected a table with the "
                    f"columns key, value, version and metadata: {error}"
                ) from error
            raise
        except BaseException:
            await self._pool.close()
            raise

    async def close(self) -> None:
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            await watch.close()
        await self._listener.close()
        await self._pool.close()

    async def ping(self) -> None:
        await self._pool.run(lambda connection: connection.fetchval("SELECT 1"))

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Item]:
        rows = await (self._rows(self._some, list(keys)) if keys else self._rows(self._every))
        return {row["key"]: _item(row) for row in rows}

    async def _rows(self, sql: str, *values: Any) -> Sequence[Any]:
        return await self._pool.run(lambda connection: connection.fetch(sql, *values))

    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> str:
        channel = self._channel_of(metadata)
        watch = RowWatch(
            self._context.name, channel, keys, lambda wanted: self.get(wanted, {}), handler
        )
        subscription_id = str(uuid.uuid4())
        self._watches[subscription_id] = watch
        try:
            await self._listener.add(channel)
            try:
                await watch.start()
            except BaseException:
                await self._listener.remove(channel)
                raise
        except BaseException:
            self._watches.pop(subscription_id, None)
            await watch.close()
            raise
        return subscription_id

    async def unsubscribe(self, subscription_id: str) -> None:
        watch = self._watches.pop(subscription_id)
        await watch.close()
        await self._listener.remove(watch.channel)

    # --- notifications ----------------------------------------------------------------------

    def _heard(self, channel: str, payload: str) -> None:
        try:
            found = orjson.loads(payload)
            table, data = found.get("table"), found.get("data") or {}
            key = data.get("key")
        except (ValueError, AttributeError):
            _LOG.debug("a notification on '%s' is not what was expected, all is read", channel)
            table, key = None, None
        if table is not None and table != self._table.rpartition(".")[2].lower():
            return
        for watch in self._watches.values():
            if watch.channel == channel:
                watch.changed(key if isinstance(key, str) else None)

    def _restored(self) -> None:
        for watch in self._watches.values():
            watch.changed(None)

    def _channel_of(self, metadata: Mapping[str, str]) -> str:
        """Raises ``ValueError``."""
        named = {name.lower(): value for name, value in metadata.items()}
        channel = named.get(_CHANNEL.lower()) or self._channel
        if not channel:
            raise ValueError(
                f"missing metadata '{_CHANNEL}': expected the channel that the trigger of table "
                f"'{self._table}' notifies, here or as 'notifyChannel' of the component"
            )
        _check_channel(channel, f"metadata '{_CHANNEL}'")
        return channel


def _check_channel(name: str, field: str) -> None:
    if len(name.encode("utf-8", "replace")) > _LONGEST_CHANNEL or not name.isprintable():
        raise SettingsError(
            f"invalid {field}: expected the name of a channel, up to {_LONGEST_CHANNEL} bytes"
        )


def _item(row: Any) -> Item:
    return Item(row["value"] or "", row["version"] or "", _texts(row["metadata"]))


def _texts(metadata: str | None) -> dict[str, str]:
    """The column's JSON object as texts; what is none counts as nothing."""
    found = orjson.loads(metadata) if metadata else None
    if not isinstance(found, dict):
        return {}
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in found.items()
    }
