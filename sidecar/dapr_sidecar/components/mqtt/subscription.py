"""Messages of one topic filter: bounded deliveries, failed ones tried again from here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.consuming.workers import Lane, Workers
from dapr_sidecar.components.mqtt.connection import Arrived, Listener, MqttConnection

_LOG = get_logger("dapr.contrib.mqtt")
_AT_ONCE = 1000
_MOST_WITHOUT_QOS = 2 * _AT_ONCE
_FIRST_RETRY, _LONGEST_RETRY = 0.5, 60.0

T = TypeVar("T")


class MqttSubscription(Generic[T]):
    """A live subscription. What fails keeps its place in the session's window meanwhile: a broker
    that is told nothing stops sending. Messages of qos 0 know no window: those that an app is too
    slow for are dropped, as they are when it is not there.
    """

    def __init__(
        self,
        connection: MqttConnection,
        topic_filter: str,
        qos: int,
        convert: Callable[[Arrived], T],
        handler: Callable[[T], Awaitable[object]],
        *,
        unsubscribe: bool = False,
    ) -> None:
        """``unsubscribe``: at the end, the session forgets the topic."""
        self._connection = connection
        self._convert = convert
        self._handler = handler
        self._unsubscribe = unsubscribe
        self._lane: Lane[Arrived] = Lane(Workers(_AT_ONCE), self._handle, _AT_ONCE)
        self._held: dict[Arrived, int] = {}
        self._timers: dict[Arrived, asyncio.TimerHandle] = {}
        self._dropped = 0
        self._listener = Listener(topic_filter, qos, self._take, self._lost)

    async def start(self) -> None:
        """Raises what the broker says."""
        await self._connection.add(self._listener)

    async def close(self) -> None:
        """Wait for what runs; the rest is for the next subscription, or the next connection."""
        try:
            await self._connection.remove(self._listener, unsubscribe=self._unsubscribe)
        finally:
            self._cancel_timers()
            await self._lane.close()
            held, self._held = list(self._held), {}
            for arrived in held:
                self._connection.give_back(arrived)

    def _take(self, arrived: Arrived) -> None:
        if arrived.qos == 0 and self._lane.count >= _MOST_WITHOUT_QOS:
            if not self._dropped % _MOST_WITHOUT_QOS:
                _LOG.warning(
                    "%d messages of %s and this one are dropped: the app is slower than they come, "
                    "and qos 0 keeps nothing",
                    self._dropped,
                    arrived.topic,
                )
            self._dropped += 1
            return
        self._held[arrived] = 0
        self._lane.put(arrived)

    def _lost(self) -> None:
        self._cancel_timers()
        self._lane.drop()
        self._held.clear()

    def _cancel_timers(self) -> None:
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()

    async def _handle(self, arrived: Arrived) -> None:
        try:
            await self._handler(self._convert(arrived))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            self._failed(arrived, error)
        else:
            self._held.pop(arrived, None)
            arrived.acknowledge()

    def _failed(self, arrived: Arrived, error: Exception) -> None:
        if arrived not in self._held:
            return  # its connection is gone: it comes with the next one
        self._held[arrived] += 1
        delay = min(_FIRST_RETRY * 2 ** min(self._held[arrived] - 1, 16), _LONGEST_RETRY)
        reason = str(error) or type(error).__name__
        _LOG.error("a message of %s failed, next attempt in %gs: %s", arrived.topic, delay, reason)
        timer = asyncio.get_running_loop().call_later(delay, self._again, arrived)
        self._timers[arrived] = timer

    def _again(self, arrived: Arrived) -> None:
        self._timers.pop(arrived, None)
        self._lane.put(arrived)
