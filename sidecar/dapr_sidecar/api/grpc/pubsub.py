"""gRPC methods of the publish API and of streaming subscriptions."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf import empty_pb2

from dapr_common.grpc.server import Context, Method
from dapr_common.wire.dapr.proto.runtime.v1 import pubsub_pb2
from dapr_sidecar.blocks.pubsub import errors
from dapr_sidecar.blocks.pubsub.publish import BulkItem, PubSubBlock
from dapr_sidecar.blocks.pubsub.streaming import serve
from dapr_sidecar.blocks.pubsub.subscriptions import SubscriptionSet

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def methods(block: PubSubBlock, subscriptions: SubscriptionSet) -> list[Method]:
    """PublishEvent, BulkPublishEvent(Alpha1), SubscribeTopicEventsAlpha1."""

    async def publish(request: pubsub_pb2.PublishEventRequest, context: Context) -> empty_pb2.Empty:
        await block.publish(
            request.pubsub_name,
            request.topic,
            request.data,
            request.data_content_type,
            dict(request.metadata) or None,
            trace_raw=True,
        )
        return empty_pb2.Empty()

    async def bulk_publish(
        request: pubsub_pb2.BulkPublishRequest, context: Context
    ) -> pubsub_pb2.BulkPublishResponse:
        items = [
            BulkItem(entry.entry_id, entry.event, entry.content_type, dict(entry.metadata))
            for entry in request.entries
        ]
        name, topic = request.pubsub_name, request.topic
        failed = await block.bulk_publish(name, topic, items, dict(request.metadata) or None)
        if failed and len(failed) == len(items):
            raise errors.publish_failed(name, topic, next(iter(failed.values())))
        failures = [
            pubsub_pb2.BulkPublishResponseFailedEntry(entry_id=entry_id, error=str(error))
            for entry_id, error in failed.items()
        ]
        return pubsub_pb2.BulkPublishResponse(failedEntries=failures)

    def subscribe(
        requests: AsyncIterator[pubsub_pb2.SubscribeTopicEventsRequestAlpha1], context: Context
    ) -> AsyncIterator[pubsub_pb2.SubscribeTopicEventsResponseAlpha1]:
        return serve(subscriptions, set(block.context.components.pubsub), requests)

    return [
        Method(
            _SERVICE + "PublishEvent",
            "unary_unary",
            pubsub_pb2.PublishEventRequest,
            empty_pb2.Empty,
            publish,
        ),
        *(
            Method(
                _SERVICE + name,
                "unary_unary",
                pubsub_pb2.BulkPublishRequest,
                pubsub_pb2.BulkPublishResponse,
                bulk_publish,
            )
            for name in ("BulkPublishEvent", "BulkPublishEventAlpha1")
        ),
        Method(
            _SERVICE + "SubscribeTopicEventsAlpha1",
            "stream_stream",
            pubsub_pb2.SubscribeTopicEventsRequestAlpha1,
            pubsub_pb2.SubscribeTopicEventsResponseAlpha1,
            subscribe,
        ),
    ]
