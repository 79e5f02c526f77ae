"""gRPC methods of metadata and shutdown."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf import empty_pb2

from dapr_common import RUNTIME_VERSION
from dapr_common.grpc.server import Context, Method
from dapr_common.kube.resources import Subscription
from dapr_common.wire.dapr.proto.runtime.v1 import metadata_pb2
from dapr_sidecar.blocks.metadata import AppConnection, MetadataBlock

_SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def methods(block: MetadataBlock, shutdown: Callable[[bool], None]) -> list[Method]:
    """GetMetadata, SetMetadata, Shutdown."""

    async def get(
        request: metadata_pb2.GetMetadataRequest, context: Context
    ) -> metadata_pb2.GetMetadataResponse:
        return _response(block)

    async def put(request: metadata_pb2.SetMetadataRequest, context: Context) -> empty_pb2.Empty:
        block.set(request.key, request.value)
        return empty_pb2.Empty()

    async def stop(request: empty_pb2.Empty, context: Context) -> empty_pb2.Empty:
        forced = str(context.get("dapr-force-shutdown") or "").lower() == "true"
        shutdown(forced)
        return empty_pb2.Empty()

    return [
        Method(
            _SERVICE + "GetMetadata",
            "unary_unary",
            metadata_pb2.GetMetadataRequest,
            metadata_pb2.GetMetadataResponse,
            get,
        ),
        Method(
            _SERVICE + "SetMetadata",
            "unary_unary",
            metadata_pb2.SetMetadataRequest,
            empty_pb2.Empty,
            put,
        ),
        # ShutdownRequest is as empty; its module would bring those of all APIs along.
        Method(_SERVICE + "Shutdown", "unary_unary", empty_pb2.Empty, empty_pb2.Empty, stop),
    ]


def _response(block: MetadataBlock) -> metadata_pb2.GetMetadataResponse:
    metadata = block.get()
    active = [metadata_pb2.ActiveActorsCount(type=t, count=c) for t, c in metadata.actors.active]
    return metadata_pb2.GetMetadataResponse(
        id=metadata.id,
        active_actors_count=active,
        registered_components=[
            metadata_pb2.RegisteredComponents(
                name=c.name, type=c.type, version=c.version, capabilities=c.capabilities
            )
            for c in metadata.components
        ],
        extended_metadata=metadata.extended,
        subscriptions=[_subscription(s, kind) for s, kind in metadata.subscriptions],
        http_endpoints=[
            metadata_pb2.MetadataHTTPEndpoint(name=name) for name in metadata.http_endpoints
        ],
        app_connection_properties=_connection(metadata.connection),
        runtime_version=RUNTIME_VERSION,
        enabled_features=metadata.enabled_features,
        actor_runtime=metadata_pb2.ActorRuntime(
            runtime_status=metadata.actors.status,
            active_actors=active,
            host_ready=metadata.actors.host_ready,
            placement=metadata.actors.placement,
        ),
        scheduler=(
            metadata_pb2.MetadataScheduler(connected_addresses=metadata.schedulers)
            if metadata.schedulers
            else None
        ),
        workflows=metadata_pb2.MetadataWorkflows(),
    )


def _subscription(subscription: Subscription, kind: str) -> metadata_pb2.PubsubSubscription:
    rules = [
        metadata_pb2.PubsubSubscriptionRule(match=r.match, path=r.path) for r in subscription.rules
    ]
    if subscription.default_route:
        rules.append(metadata_pb2.PubsubSubscriptionRule(path=subscription.default_route))
    return metadata_pb2.PubsubSubscription(
        pubsub_name=subscription.pubsub_name,
        topic=subscription.topic,
        metadata=subscription.metadata,
        rules=metadata_pb2.PubsubSubscriptionRules(rules=rules),
        dead_letter_topic=subscription.dead_letter_topic,
        type=kind,
    )


def _connection(connection: AppConnection) -> metadata_pb2.AppConnectionProperties:
    message = metadata_pb2.AppConnectionProperties(
        port=connection.port,
        protocol=connection.protocol,
        channel_address=connection.channel_address,
        max_concurrency=connection.max_concurrency,
    )
    if connection.health is not None:
        path, interval, timeout, threshold = connection.health
        message.health.CopyFrom(
            metadata_pb2.AppConnectionHealthProperties(
                health_check_path=path,
                health_probe_interval=interval,
                health_probe_timeout=timeout,
                health_threshold=threshold,
            )
        )
    return message
