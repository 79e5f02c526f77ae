"""Entries of a consumer group that somebody left: found in its pending list, and claimed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.pubsub.redis_entries import ConsumerLimits, Entry
from dapr_sidecar.components.redis.client import RedisClient
from dapr_sidecar.components.redis.connection import RedisConnectionError, RedisError

_LOG = get_logger("dapr.contrib.pubsub.redis")
_PAGES = 100


class Reclaiming:
    """Claims what has been idle for ``processingTimeout``, and keeps from looking idle what is
    held here.
    """

    def __init__(
        self,
        component: str,
        client: RedisClient,
        topic: str,
        group: str,
        limits: ConsumerLimits,
        held: Mapping[bytes, Entry],
        *,
        count: Callable[[], int],
        take: Callable[[Sequence[Any], int], None],
        gone: Callable[[bytes], None],
    ) -> None:
        """``count``: how many entries wait or run here. ``take`` gets entries that were claimed
        and the number of the attempt; ``gone`` the id of one that is no longer in the stream.
        """
        self._component = component
        self._client = client
        self._topic = topic
        self._group = group
        self._limits = limits
        self._held = held
        self._count = count
        self._take = take
        self._gone = gone

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        limits = self._limits
        interval = min(limits.redeliver_interval, limits.processing_timeout / 3)
        while True:
            try:
                await self._refresh(interval)
                await self._claim_abandoned()
            except (RedisError, RedisConnectionError) as error:
                _LOG.warning(
                    "component '%s': looking for abandoned messages of %s failed: %s",
                    self._component,
                    self._topic,
                    error,
                )
            await asyncio.sleep(interval)

    async def _refresh(self, older_than: float) -> None:
        """Reset the idle time of what this process holds, so that no other one claims it."""
        before = asyncio.get_running_loop().time() - older_than
        ids = [entry.id for entry in self._held.values() if entry.since <= before]
        for at in range(0, len(ids), 100):
            await self._client.command(
                "XCLAIM",
                self._topic,
                self._group,
                self._group,
                0,
                *ids[at : at + 100],
                "JUSTID",
            )

    async def _claim_abandoned(self) -> None:
        start = "-"
        depth = self._limits.queue_depth
        idle = int(self._limits.processing_timeout * 1000)
        for _ in range(_PAGES):
            page = await self._client.command(
                "XPENDING", self._topic, self._group, start, "+", depth
            )
            abandoned = {
                row[0]: row[3] for row in page if row[2] >= idle and row[0] not in self._held
            }
            room = depth - self._count()
            if abandoned and room > 0:
                await self._claim(dict(list(abandoned.items())[:room]), idle)
            if len(page) < depth or room <= 0:
                return
            start = _after(page[-1][0])

    async def _claim(self, abandoned: Mapping[bytes, int], idle: int) -> None:
        reply = await self._client.command(
            "XCLAIM", self._topic, self._group, self._group, idle, *abandoned
        )
        claimed = [entry for entry in reply or () if entry]
        for entry in claimed:
            self._take([entry], abandoned.get(entry[0], 1) + 1)
        for entry_id in abandoned.keys() - {entry[0] for entry in claimed}:
            # Claimed by another process meanwhile, or gone from the stream: only that is final.
            if not await self._client.command("XRANGE", self._topic, entry_id, entry_id):
                self._gone(entry_id)


def _after(entry_id: bytes) -> str:
    milliseconds, _, sequence = entry_id.decode().partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"
