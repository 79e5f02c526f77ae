"""The transactional outbox, writing side: events go out first and wait for their transaction.

An event is published to an internal topic before the transaction, and the transaction writes a
marker beside the state. Whoever gets the event publishes it for all once the marker is there: a
crash at any point leaves either both or neither.
"""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dapr_common.errors import DaprError
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import current_span
from dapr_sidecar.blocks.pubsub.envelope import new_id
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.state import errors
from dapr_sidecar.blocks.state.items import Item, SaveItem
from dapr_sidecar.blocks.state.outbox_event import (
    MARKER,
    failure_marker,
    internal_event,
    internal_topic,
    is_projection,
)
from dapr_sidecar.blocks.state.rules import OutboxSettings
from dapr_sidecar.blocks.state.view import View
from dapr_sidecar.components.state.base import (
    DeleteRequest,
    EtagError,
    Feature,
    Json,
    SetRequest,
    StateStore,
    TransactionOperation,
)

_LOG = get_logger("dapr.runtime.outbox")
_PUBLISH_SECONDS = 30.0
_CLEAN_UP_SECONDS = 3.0
_FAILURES_KEPT = {"ttlInSeconds": "86400"}
_REMEMBERED = 10_000


class Outcome(enum.Enum):
    """What became of a transaction."""

    DONE = "done"
    FAILED = "failed"
    """Nothing was written, for certain."""

    UNKNOWN = "unknown"
    """Only the store can tell."""


Place = tuple[str, str]
"""An internal pubsub and topic."""


@dataclass(frozen=True, slots=True)
class Target:
    """A store with an outbox, and where its events go."""

    store: str
    settings: OutboxSettings


@dataclass(slots=True)
class Batch:
    """The events of one transaction and the operations to execute, markers among them."""

    target: Target
    topic: str
    component: StateStore
    metadata: Mapping[str, str]
    operations: list[TransactionOperation]
    events: dict[str, bytes]
    """By marker."""

    attempts: int = 0
    published: list[str] = field(default_factory=list)
    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, outcome: Outcome) -> None:
        """The transaction is over; its values are not kept for as long as its outcome."""
        self.outcome.set_result(outcome)
        self.operations = []
        self.events = {}


class Outcomes:
    """The latest transactions of this process, by marker: their events need not ask the store."""

    def __init__(self) -> None:
        self._batches: OrderedDict[str, Batch] = OrderedDict()

    def remember(self, batch: Batch) -> None:
        """Follow a transaction that begins now."""
        self._batches.update(dict.fromkeys(batch.events, batch))
        while len(self._batches) > _REMEMBERED:
            self._batches.popitem(last=False)

    def find(self, marker: str) -> Batch | None:
        """The transaction of a marker, if it was one of this process."""
        return self._batches.get(marker)

    def forget(self, marker: str) -> None:
        """The event is done with, or its transaction can tell no more."""
        self._batches.pop(marker, None)


class TransactionalOutbox:
    """Publishes what transactions write: ``plan``, ``publish``, ``execute``, or ``failed``."""

    def __init__(self, pubsub: PubSubBlock) -> None:
        self._pubsub = pubsub
        self.outcomes = Outcomes()
        self._subscribed: dict[Place, asyncio.Event] = {}

    def subscribed(self, place: Place) -> asyncio.Event:
        """Set once the place has a subscription: many brokers keep nothing for anyone before."""
        return self._subscribed.setdefault(place, asyncio.Event())

    def plan(
        self,
        view: View,
        operations: Sequence[TransactionOperation],
        items: Sequence[Item],
        metadata: Mapping[str, str],
    ) -> Batch:
        """Add markers, take projections out, build the events. Raises ``DaprError``."""
        settings = view.rules.outbox
        assert settings is not None
        identity = self._pubsub.context.identity
        topic = internal_topic(
            identity.invocation_namespace, identity.app_id, settings.publish_topic
        )
        target = Target(view.name, settings)
        batch = Batch(target, topic, view.store, metadata, [], {})
        shown = self._projections(items)
        for operation, item in zip(operations, items, strict=True):
            if isinstance(item, SaveItem) and is_projection(item):
                continue
            batch.operations.append(operation)
            if isinstance(item, SaveItem):
                marker = MARKER + new_id()
                batch.events[marker] = self._event(marker, item, shown.get(item.key, item), batch)
        batch.operations += [SetRequest(marker, Json("0")) for marker in batch.events]
        return batch

    async def publish(self, batch: Batch) -> None:
        """Send the events to where they wait. Raises ``DaprError``; nothing may be written then."""
        self.outcomes.remember(batch)
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await self._publish(batch)
        except BaseException as error:
            await self._give_up(batch, Outcome.FAILED)
            if isinstance(error, Exception):
                reason = str(error) or "the message broker did not answer in time"
                raise errors.outbox_failed(self._pubsub.context.identity.app_id, reason) from error
            raise

    async def _publish(self, batch: Batch) -> None:
        pubsub = batch.target.settings.internal_pubsub
        self._pubsub.find(pubsub, batch.topic, None)
        if batch.events:
            await self.subscribed((pubsub, batch.topic)).wait()
        for marker, event in batch.events.items():
            batch.published.append(marker)
            await self._pubsub.publish_stored(pubsub, batch.topic, event, None)

    async def execute(self, batch: Batch, transact: Callable[[], Awaitable[None]]) -> None:
        """Run the transaction; a policy may do so more than once."""
        batch.attempts += 1
        await transact()
        if not batch.outcome.done():
            batch.settle(Outcome.DONE)

    async def failed(self, batch: Batch, error: BaseException) -> None:
        """The transaction was not, or perhaps not, executed."""
        if batch.outcome.done():  # cancelled, or timed out by a policy, once it was executed
            return
        # After a retry an etag may be wrong because the first attempt had succeeded.
        certain = isinstance(error, EtagError) and batch.attempts == 1
        await self._give_up(batch, Outcome.FAILED if certain else Outcome.UNKNOWN)

    async def _give_up(self, batch: Batch, outcome: Outcome) -> None:
        """Leave a note for the other sidecars of the app: the events of the batch wait in vain.

        Their markers still count for more, since a transaction that seems to have failed may have
        been executed. Where it certainly was not, they are removed: Redis keeps what a failed
        transaction wrote.
        """
        batch.settle(outcome)
        if outcome is Outcome.UNKNOWN:
            for marker in batch.published:
                self.outcomes.forget(marker)
        store = batch.component
        kept = _FAILURES_KEPT if Feature.TTL in store.features else {}
        try:
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                for marker in batch.published:
                    if outcome is Outcome.FAILED:
                        await store.delete(DeleteRequest(marker, metadata=batch.metadata))
                    await store.set(SetRequest(failure_marker(marker), Json("0"), metadata=kept))
        except Exception as error:  # noqa: BLE001 - the transaction's own failure is what is told
            _LOG.warning(
                "a failed transaction of state store %s could not be noted, its events wait "
                "longer: %s",
                batch.target.store,
                str(error) or type(error).__name__,
            )

    def _projections(self, items: Sequence[Item]) -> Mapping[str, SaveItem]:
        """What is shown instead of a key's value; of several projections the first counts."""
        found: dict[str, SaveItem] = {}
        stored: set[str] = set()
        for item in items:
            if not isinstance(item, SaveItem):
                continue
            if is_projection(item):
                found.setdefault(item.key, item)
            else:
                stored.add(item.key)
        for key in found:
            if key not in stored:
                raise self._no_upsert(key)
        return found

    def _no_upsert(self, key: str) -> DaprError:
        return errors.outbox_failed(
            self._pubsub.context.identity.app_id,
            f"the outbox projection of key '{key}' has no upsert of that key beside it",
        )

    def _event(self, marker: str, item: SaveItem, shown: SaveItem, batch: Batch) -> bytes:
        span = current_span.get()
        trace = span.context if span is not None and span.context.valid else None
        return internal_event(
            marker,
            item,
            shown,
            batch.metadata,
            source=self._pubsub.context.identity.app_id,
            pubsub=batch.target.settings.internal_pubsub,
            traceparent=trace.traceparent if trace else "",
            tracestate=trace.tracestate if trace else "",
        )
