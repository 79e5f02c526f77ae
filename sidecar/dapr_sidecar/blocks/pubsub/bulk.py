"""Batches of messages to the app: one call per route, a verdict per entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from dapr_common.kube.resources import Subscription
from dapr_common.match_expressions import RouteError
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.pubsub.dead_letters import DeadLetters, UndeliveredError
from dapr_sidecar.blocks.pubsub.envelope import is_expired
from dapr_sidecar.blocks.pubsub.event import Event, EventError, decode
from dapr_sidecar.blocks.pubsub.routing import Routes
from dapr_sidecar.blocks.pubsub.verdict import Verdict
from dapr_sidecar.components.pubsub.base import BulkMessage, Message
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.pubsub.subscription")
_DROP = Verdict.DROP


class Entry(NamedTuple):
    """One message of a batch; ``event`` is ``None`` on a raw subscription."""

    entry_id: str
    message: Message
    event: Event | None


class BulkSender(Protocol):
    """Hands a batch to the app. Returns a verdict per entry; ``None`` or absent means retry."""

    async def send(self, entries: Sequence[Entry], path: str) -> Mapping[str, Verdict | None]: ...


class _RetryLeft(Exception):  # noqa: N818 - a signal to the retry policy
    """Some entries of the batch are to be retried."""


class BulkDelivery:
    """Delivers the batches of one subscription; its ``handle`` is the broker's bulk handler."""

    def __init__(
        self,
        context: SidecarContext,
        subscription: Subscription,
        routes: Routes,
        sender: BulkSender,
        dead_letters: DeadLetters,
        *,
        raw: bool,
    ) -> None:
        self._context = context
        self._pubsub = subscription.pubsub_name
        self._topic = subscription.topic
        self._routes = routes
        self._sender = sender
        self._dead_letters = dead_letters
        self._raw = raw

    async def handle(self, messages: Sequence[BulkMessage]) -> Mapping[str, Exception]:
        """Returns the entries the broker must keep, with the reason."""
        groups: dict[str, list[Entry]] = {}
        dropped: dict[str, Exception] = {}
        failed: dict[str, Exception] = {}
        for one in messages:
            try:
                entry, path = self._route(one)
            except (EventError, RouteError) as error:
                failed[one.entry_id] = error
                continue
            if path is None:
                dropped[one.entry_id] = UndeliveredError("expired, or no route matches")
            else:
                groups.setdefault(path, []).append(entry)
        for path, entries in groups.items():
            verdicts, reason = await self._deliver(entries, path)
            for entry in entries:
                verdict = verdicts.get(entry.entry_id)
                if verdict is _DROP:
                    dropped[entry.entry_id] = UndeliveredError("dropped by the app")
                elif verdict is None:
                    failed[entry.entry_id] = reason
        return await self._settle({one.entry_id: one.message for one in messages}, dropped, failed)

    def _route(self, one: BulkMessage) -> tuple[Entry, str | None]:
        message = one.message
        if self._raw:
            text: Any = message.data.decode("utf-8", "replace")
            return Entry(one.entry_id, message, None), self._routes.find(text)
        event = decode(message, self._pubsub, self._topic, raw=False)
        entry = Entry(one.entry_id, message, event)
        if is_expired(event.attributes.get("expiration")):
            return entry, None
        return entry, self._routes.find(event.attributes)

    async def _deliver(
        self, entries: list[Entry], path: str
    ) -> tuple[dict[str, Verdict], Exception]:
        done: dict[str, Verdict] = {}
        left = entries

        async def attempt() -> None:
            nonlocal left
            started = perf_counter()
            try:
                found = await self._sender.send(left, path)
            except Exception:
                self._count(left, {}, started)
                raise
            self._count(left, found, started)
            done.update({entry_id: v for entry_id, v in found.items() if v is not None})
            left = [entry for entry in left if entry.entry_id not in done]
            if left:
                raise _RetryLeft("RETRY required while processing the event")

        runner = self._context.policies.component_inbound(self._pubsub, "Pubsub")
        try:
            await (attempt() if runner is None else runner.run(attempt))
        except Exception as error:  # noqa: BLE001 - the entries left are kept by the broker
            return done, error
        return done, _RetryLeft()

    def _count(
        self, entries: Sequence[Entry], found: Mapping[str, Verdict | None], started: float
    ) -> None:
        elapsed = (perf_counter() - started) * 1000
        counts: dict[str, int] = {}
        for entry in entries:
            verdict = found.get(entry.entry_id)
            word = "retry" if verdict is None else "success" if verdict is not _DROP else "drop"
            counts[word] = counts.get(word, 0) + 1
        for word, count in counts.items():
            self._context.metrics.pubsub_ingress_bulk(
                self._pubsub, self._topic, word, count, elapsed
            )

    async def _settle(
        self,
        messages: Mapping[str, Message],
        dropped: Mapping[str, Exception],
        failed: dict[str, Exception],
    ) -> Mapping[str, Exception]:
        if not self._dead_letters:
            if failed:
                _LOG.debug("%d entries of a batch stay with the broker", len(failed))
            return failed
        kept: dict[str, Exception] = {}
        for entry_id in [*dropped, *failed]:
            try:
                await self._dead_letters.put(messages[entry_id])
            except UndeliveredError as error:
                kept[entry_id] = error
        return kept
