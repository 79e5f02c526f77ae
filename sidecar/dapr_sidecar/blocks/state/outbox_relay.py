"""The transactional outbox, delivering side: what waits on one internal topic is published."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.state.outbox import Outcome, Outcomes, Target
from dapr_sidecar.blocks.state.outbox_event import failure_marker, marker_of, public_event
from dapr_sidecar.components.pubsub.base import Message
from dapr_sidecar.components.state.base import DeleteRequest, GetRequest, StateStore

_LOG = get_logger("dapr.runtime.outbox")
_STORE_SECONDS, _PUBLISH_SECONDS = 5.0, 30.0
_MISSED = 10_000
_FORMS: tuple[Mapping[str, str], ...] = ({}, {"contentType": "application/json"})
"""A marker has the form of its transaction; Redis can read each form only as such."""


class MarkerMissingError(Exception):
    """The transaction of an event is not there (yet); the broker keeps the event."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a transaction of another sidecar is waited for, in seconds."""

    first: float = 1.0
    interval: float = 0.5
    factor: float = 3.0
    longest: float = 3.0
    total: float = 10.0
    jitter: float = 0.1
    give_up: float = 86_400.0
    """An event this old whose marker a working store does not have is dropped."""


class OutboxRelay:
    """Handles the messages of an internal topic; several stores may share one."""

    def __init__(
        self,
        block: PubSubBlock,
        outcomes: Outcomes,
        targets: Sequence[Target],
        waits: Waits,
    ) -> None:
        self._block = block
        self._outcomes = outcomes
        self._targets = targets
        self._waits = waits
        self._missed: OrderedDict[str, float] = OrderedDict()

    async def handle(self, message: Message) -> None:
        """Returns when the message is done with; raises when the broker must keep it."""
        marker = marker_of(message.data)
        if marker is None:
            _LOG.error("a message of topic %s is no outbox event and is dropped", message.topic)
            return
        target = await self._committed(marker)
        if target is not None:
            await self._publish(target, message.data)
            await self._remove(target, marker)
        self._outcomes.forget(marker)
        self._missed.pop(marker, None)

    async def _committed(self, marker: str) -> Target | None:
        """Whose event it is; ``None``: nobody's, its transaction failed."""
        batch = self._outcomes.find(marker)
        if batch is None:
            return await self._from_store(marker)
        waits = self._waits
        try:
            async with asyncio.timeout(waits.first + waits.total):
                outcome = await asyncio.shield(batch.outcome)
        except TimeoutError:
            raise MarkerMissingError(
                f"the transaction of outbox event {marker} is still running"
            ) from None
        if outcome is Outcome.UNKNOWN:
            return await self._from_store(marker)
        return batch.target if outcome is Outcome.DONE else None

    async def _publish(self, target: Target, event: bytes) -> None:
        pubsub, topic = target.settings.publish_pubsub, target.settings.publish_topic
        async with asyncio.timeout(_PUBLISH_SECONDS):
            await self._block.publish_stored(
                pubsub, topic, public_event(event, topic=topic, pubsub=pubsub), None
            )

    # --- markers in the store ---------------------------------------------------------------

    async def _from_store(self, marker: str) -> Target | None:
        """As ``_committed``, for a transaction of another process or another time."""
        found = await self._poll(marker)
        if found is not None:
            return found
        for target in self._targets:
            if await self._read(target, failure_marker(marker)):
                await self._remove(target, failure_marker(marker))
                return None
        if all(target.settings.discard_when_missing for target in self._targets):
            _LOG.warning("outbox event %s is discarded: there is no state for it", marker)
            return None
        self._keep(marker)
        return None

    async def _poll(self, marker: str) -> Target | None:
        """Look for the marker for a while; only once when that was done before."""
        waits = self._waits
        if marker in self._missed:
            return await self._find(marker)
        await asyncio.sleep(waits.first)
        elapsed, wait = 0.0, waits.interval
        while (found := await self._find(marker)) is None and elapsed + wait <= waits.total:
            spread = 1 + waits.jitter * (2 * random.random() - 1)  # noqa: S311 - not a secret
            await asyncio.sleep(wait * spread)
            elapsed += wait
            wait = min(wait * waits.factor, waits.longest)
        return found

    def _keep(self, marker: str) -> None:
        """Raise for the broker to keep the event, unless it has waited for too long."""
        now = asyncio.get_running_loop().time()
        since = self._missed.setdefault(marker, now)
        if len(self._missed) > _MISSED:
            self._missed.popitem(last=False)
        if now - since < self._waits.give_up:
            raise MarkerMissingError(f"the transaction of outbox event {marker} is not found")
        _LOG.error(
            "outbox event %s is dropped: its transaction was not found in %g hours",
            marker,
            self._waits.give_up / 3600,
        )

    async def _find(self, marker: str) -> Target | None:
        for target in self._targets:
            if await self._read(target, marker):
                return target
        return None

    async def _read(self, target: Target, key: str) -> bool:
        store = self._store(target)
        failure: Exception | None = None
        async with asyncio.timeout(_STORE_SECONDS):
            for form in _FORMS:
                try:
                    return (await store.get(GetRequest(key, form))).data is not None
                except Exception as error:  # noqa: BLE001 - raised below unless the other form fits
                    failure = failure or error
        assert failure is not None
        raise failure

    async def _remove(self, target: Target, key: str) -> None:
        """Delete a marker that has served; one that stays is in nobody's way."""
        failure: Exception | None = None
        try:
            store = self._store(target)
            async with asyncio.timeout(_STORE_SECONDS):
                for form in _FORMS:
                    try:
                        return await store.delete(DeleteRequest(key, metadata=form))
                    except Exception as error:  # noqa: BLE001 - told below
                        failure = failure or error
        except (TimeoutError, MarkerMissingError) as error:
            failure = error
        _LOG.warning("marker %s stays in state store %s: %s", key, target.store, failure)
        return None

    def _store(self, target: Target) -> StateStore:
        loaded = self._block.context.components.state.get(target.store)
        if loaded is None:
            raise MarkerMissingError(f"state store {target.store} of an outbox is not loaded")
        return loaded.component
