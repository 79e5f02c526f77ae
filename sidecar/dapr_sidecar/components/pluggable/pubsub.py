"""Message buses in processes of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.components.v1 import common_pb2
from dapr_common.wire.dapr.proto.components.v1 import pubsub_pb2 as pb
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.plugged import Plugged, plugged
from dapr_sidecar.components.pluggable.services import PUBSUB
from dapr_sidecar.components.pluggable.streaming import Incoming, Wire, receive
from dapr_sidecar.components.pubsub.base import (
    BulkPublishEntry,
    Feature,
    Message,
    MessageHandler,
    PublishRequest,
    PubSub,
    Subscription,
)

_NAMES = frozenset(feature.value for feature in Feature)


class BulkEntryError(Exception):
    """The component did not take one message of several."""


def bus_class(served: Iterable[str], link: Link) -> type[Component]:
    """The class of a message bus."""
    return plugged((PluggablePubSub,), link)


class PluggablePubSub(Plugged, PubSub):
    """Messages come over a stream for each topic; redelivery is the component's."""

    async def open(self) -> None:
        await super().open()
        request, answer = common_pb2.FeaturesRequest(), common_pb2.FeaturesResponse
        found = await self.link.call(PUBSUB.method("Features"), request, answer)
        told = tuple(Feature(name) for name in found.features if name in _NAMES)
        self.features = told  # type: ignore[misc]

    async def publish(self, request: PublishRequest) -> None:
        message = pb.PublishRequest(
            data=request.data,
            pubsub_name=self._context.name,
            topic=request.topic,
            metadata=dict(request.metadata or {}),
            content_type=request.content_type or "",
        )
        await self.link.call(PUBSUB.method("Publish"), message, pb.PublishResponse)

    async def bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        if Feature.BULK_PUBSUB in self.features:
            try:
                return await self._bulk_publish(topic, entries, metadata)
            except RpcError as error:
                if error.code is not GrpcCode.UNIMPLEMENTED:
                    raise
        return await super().bulk_publish(topic, entries, metadata)

    async def _bulk_publish(
        self, topic: str, entries: Sequence[BulkPublishEntry], metadata: Mapping[str, str] | None
    ) -> dict[str, Exception]:
        request = pb.BulkPublishRequest(
            entries=[
                pb.BulkMessageEntry(
                    entry_id=entry.entry_id,
                    event=entry.data,
                    content_type=entry.content_type,
                    metadata=dict(entry.metadata or {}),
                )
                for entry in entries
            ],
            pubsub_name=self._context.name,
            topic=topic,
            metadata=dict(metadata or {}),
        )
        found = await self.link.call(PUBSUB.method("BulkPublish"), request, pb.BulkPublishResponse)
        return {one.entry_id: BulkEntryError(one.error) for one in found.failed_entries}

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: MessageHandler
    ) -> Subscription:
        def decode(raw: bytes) -> Incoming[Message]:
            message = pb.PullMessagesResponse.FromString(raw)
            found = Message(
                message.topic_name or topic,
                message.data,
                dict(message.metadata),
                message.content_type or None,
            )
            return Incoming(message.id, found)

        async def handle(message: Message) -> None:
            await handler(message)

        named = pb.Topic(name=topic, metadata=dict(metadata))
        first = pb.PullMessagesRequest(topic=named)
        wire = Wire(PUBSUB.method("PullMessages"), first, decode, _acknowledgement)
        return await receive(f"{self._context.name}/{topic}", self.link, wire, handle)


def _acknowledgement(incoming: Incoming[Message]) -> pb.PullMessagesRequest:
    failure = pb.AckMessageError(message=incoming.failure) if incoming.failure else None
    return pb.PullMessagesRequest(ack_message_id=incoming.id, ack_error=failure)
