"""The publish building block: checks, envelope, scopes, policy, broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from dapr_common.errors import DaprError
from dapr_common.kube import resources
from dapr_common.observe.tracing import Span, current_span
from dapr_sidecar.blocks.pubsub import errors
from dapr_sidecar.blocks.pubsub.envelope import (
    CLOUD_EVENTS_JSON,
    ContentKind,
    complete,
    content_kind,
    expiration_of,
    wrap,
)
from dapr_sidecar.blocks.pubsub.scopes import TopicScopes
from dapr_sidecar.components.pubsub.base import (
    BulkPublishEntry,
    Feature,
    PublishRequest,
    PubSub,
    ttl_seconds,
)
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_NAMESPACE_TEMPLATE = "{namespace}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a pubsub component's metadata means for the block."""

    scopes: TopicScopes
    prefix: str = ""
    """Put before every topic at the broker."""


@dataclass(slots=True)
class BulkItem:
    """One entry of a bulk publish; ``metadata=None`` or empty: it has none of its own."""

    entry_id: str
    event: bytes
    content_type: str
    metadata: Mapping[str, str] | None = None


class _PartFailed(Exception):  # noqa: N818 - a signal to the retry policy, not shown to anyone
    """Some entries of a bulk publish failed."""


def raw_payload(metadata: Mapping[str, str] | None) -> bool:
    """Whether ``rawPayload`` is set. Raises ``ValueError`` with Dapr's text."""
    for name, value in (metadata or {}).items():
        if name.lower() == "rawpayload":
            if value in _TRUE:
                return True
            if value not in _FALSE:
                raise ValueError(f"rawPayload value must be a valid boolean: actual is '{value}'")
    return False


class PubSubBlock:
    """Publishes for both transports."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context

    def prepare(self, manifest: resources.Component, properties: dict[str, str]) -> Prepared:
        """Scopes and topic prefix of a component, kept in ``Loaded.extra``."""
        identity = self.context.identity
        scoped = any(_NAMESPACE_TEMPLATE in (entry.value or "") for entry in manifest.metadata)
        return Prepared(
            TopicScopes.of(properties, identity.app_id),
            identity.invocation_namespace if scoped else "",
        )

    def find(self, name: str, topic: str, metadata: Mapping[str, str] | None) -> Loaded[PubSub]:
        """The component for a publish request. Raises ``DaprError``."""
        if not name:
            raise errors.name_empty(metadata)
        if not topic:
            raise errors.topic_empty(name, metadata)
        loaded = self.context.components.pubsub.get(name)
        if loaded is None:
            raise errors.not_found(name, metadata)
        return loaded

    async def publish(
        self,
        name: str,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] | None,
        *,
        trace_raw: bool = False,
    ) -> None:
        """Publish one payload. ``trace_raw``: a raw payload carries the trace as metadata."""
        loaded = self.find(name, topic, metadata)
        span = current_span.get()
        if metadata and self._is_raw(name, metadata):
            if trace_raw and span is not None and span.context.valid:
                trace = span.context
                metadata = {
                    **metadata,
                    "traceid": trace.traceparent,
                    "tracestate": trace.tracestate,
                }
        else:
            data = self._envelope(loaded, name, topic, data, content_type, metadata, span)
            content_type = CLOUD_EVENTS_JSON
        await self._send(loaded, name, topic, data, content_type, metadata)

    async def publish_stored(
        self, name: str, topic: str, data: bytes, metadata: Mapping[str, str] | None
    ) -> None:
        """Publish bytes that are an event already, such as a dead letter."""
        loaded = self.find(name, topic, metadata)
        await self._send(loaded, name, topic, data, CLOUD_EVENTS_JSON, metadata)

    async def bulk_publish(
        self,
        name: str,
        topic: str,
        items: Sequence[BulkItem],
        metadata: Mapping[str, str] | None,
    ) -> dict[str, Exception]:
        """Publish many; returns the failed ones by entry id. Raises ``DaprError`` for the whole."""
        loaded = self.find(name, topic, metadata)
        raw = bool(metadata) and self._is_raw(name, metadata or {})
        seen: set[str] = set()
        app_id = self.context.identity.app_id
        spans: list[Span] = []
        entries: list[BulkPublishEntry] = []
        for item in items:
            if not item.entry_id or item.entry_id in seen:
                raise errors.bad_entry_id(name, topic, app_id)
            seen.add(item.entry_id)
            own = {**(metadata or {}), **item.metadata} if item.metadata else None
            data, content_type = item.event, item.content_type
            if not raw:
                span = self._child(spans)
                data = self._envelope(loaded, name, topic, data, content_type, own, span)
                content_type = CLOUD_EVENTS_JSON
            entries.append(BulkPublishEntry(item.entry_id, data, content_type, own))
        try:
            return await self._send_bulk(loaded, name, topic, entries, metadata)
        finally:
            for span in spans:
                span.end()

    def _child(self, spans: list[Span]) -> Span | None:
        parent = current_span.get()
        if parent is None:
            return None
        span = self.context.tracer.start("bulkpublish", "PRODUCER", parent.context)
        spans.append(span)
        return span

    def _is_raw(self, name: str, metadata: Mapping[str, str]) -> bool:
        try:
            return raw_payload(metadata)
        except ValueError as error:
            raise errors.bad_metadata(name, metadata, str(error)) from error

    def _envelope(
        self,
        loaded: Loaded[PubSub],
        name: str,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] | None,
        span: Span | None,
    ) -> bytes:
        expiration = ""
        if metadata and Feature.MESSAGE_TTL not in loaded.component.features:
            expiration = expiration_of(ttl_seconds(metadata))
        traceparent = tracestate = ""
        if span is not None and span.context.valid:
            traceparent, tracestate = span.context.traceparent, span.context.tracestate
        if content_kind(content_type) is ContentKind.CLOUD_EVENT:
            try:
                return complete(
                    data,
                    topic=topic,
                    pubsub=name,
                    traceparent=traceparent,
                    tracestate=tracestate,
                    expiration=expiration,
                )
            except ValueError as error:
                app_id = self.context.identity.app_id
                raise errors.envelope_failed(name, app_id, error) from error
        return wrap(
            data,
            content_type,
            source=self.context.identity.app_id,
            topic=topic,
            pubsub=name,
            metadata=metadata,
            traceparent=traceparent,
            tracestate=tracestate,
            expiration=expiration,
        )

    async def _send(
        self,
        loaded: Loaded[PubSub],
        name: str,
        topic: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str] | None,
    ) -> None:
        context = self.context
        started = perf_counter()
        success = False
        try:
            prefix = self._allowed_prefix(loaded, name, topic)
            request = PublishRequest(prefix + topic, data, metadata, content_type)
            publish = loaded.component.publish
            runner = context.policies.component_outbound(name, "Pubsub")
            if runner is None:
                await publish(request)
            else:
                await runner.run(lambda: publish(request))
            success = True
        except DaprError:
            raise
        except Exception as error:
            raise errors.publish_failed(name, topic, error) from error
        finally:
            elapsed = (perf_counter() - started) * 1000
            context.metrics.pubsub_egress(name, topic, success, elapsed)

    def _allowed_prefix(self, loaded: Loaded[PubSub], name: str, topic: str) -> str:
        prepared = loaded.extra
        if not isinstance(prepared, Prepared):
            return ""
        if not prepared.scopes.may_publish(topic):
            raise errors.forbidden(name, topic, self.context.identity.app_id)
        return prepared.prefix

    async def _send_bulk(
        self,
        loaded: Loaded[PubSub],
        name: str,
        topic: str,
        entries: list[BulkPublishEntry],
        metadata: Mapping[str, str] | None,
    ) -> dict[str, Exception]:
        context = self.context
        prefix = self._allowed_prefix(loaded, name, topic)
        started = perf_counter()
        left = entries
        failed: dict[str, Exception] = {}

        async def attempt() -> None:
            nonlocal left, failed
            failed = {entry.entry_id: _PartFailed() for entry in left}
            failed = await loaded.component.bulk_publish(prefix + topic, left, metadata)
            left = [entry for entry in left if entry.entry_id in failed]
            if failed:
                raise _PartFailed

        success = False
        try:
            runner = context.policies.component_outbound(name, "Pubsub")
            await (attempt() if runner is None else runner.run(attempt))
            success = True
        except _PartFailed:
            pass
        except Exception as error:  # noqa: BLE001 - every failure is told entry by entry
            failed = {entry.entry_id: error for entry in left}
        finally:
            elapsed = (perf_counter() - started) * 1000
            done = len(entries) - len(failed)
            context.metrics.pubsub_egress_bulk(name, topic, success, done, elapsed)
        return failed
