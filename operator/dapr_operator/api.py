"""``dapr.proto.operator.v1.Operator``: what there is, and what changes, for those it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_operator.assigned_configuration import assigned_configuration
from dapr_operator.authorization import authorized
from dapr_operator.cache import Cache
from dapr_operator.feed import Encode, Feed, MissingChanged
from dapr_operator.kinds import (
    COMPONENT,
    CONFIGURATION,
    HTTP_ENDPOINT,
    MCP_SERVER,
    RESILIENCY,
    SUBSCRIPTION,
    WORKFLOW_ACCESS_POLICY,
    DaprKind,
)
from dapr_operator.pods import Pods
from dapr_operator.resource import Resource
from dapr_operator.scoping import visible
from dapr_operator.secrets import SecretReader, SecretsUnreachableError
from dapr_operator.streams import Accepts, Subscription

_SERVICE = "/dapr.proto.operator.v1.Operator/"
_KNOWN_SECONDS = 10.0

_ENCODERS: dict[DaprKind, Encode] = {
    COMPONENT: lambda body, kind: _raw(pb.ComponentUpdateEvent(component=body, type=kind)),
    CONFIGURATION: lambda body, kind: _raw(
        pb.ConfigurationUpdateEvent(configuration=body, type=kind)
    ),
    HTTP_ENDPOINT: lambda body, kind: _raw(
        pb.HTTPEndpointUpdateEvent(http_endpoints=body, type=kind)
    ),
    MCP_SERVER: lambda body, kind: _raw(pb.MCPServerUpdateEvent(mcp_server=body, type=kind)),
    RESILIENCY: lambda body, kind: _raw(pb.ResiliencyUpdateEvent(resiliency=body, type=kind)),
    SUBSCRIPTION: lambda body, kind: _raw(pb.SubscriptionUpdateEvent(subscription=body, type=kind)),
    WORKFLOW_ACCESS_POLICY: lambda body, kind: _raw(
        pb.WorkflowAccessPolicyUpdateEvent(policy=body, type=kind)
    ),
}


class OperatorApi:
    """Answers sidecars out of the cache. ``run`` sends what changes, until cancelled."""

    def __init__(
        self, cache: Cache, pods: Pods, secrets: SecretReader, missing: MissingChanged
    ) -> None:
        self._cache = cache
        self._pods = pods
        self._secrets = secrets
        self._feeds = {
            kind: Feed(cache[kind], encode, secrets, missing) for kind, encode in _ENCODERS.items()
        }

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return sum(feed.size for feed in self._feeds.values())

    @property
    def methods(self) -> list[Method]:
        """All of them, for a server."""
        return [
            _answers(
                "ListComponents",
                pb.ListComponentsRequest,
                pb.ListComponentResponse,
                self.list_components,
            ),
            _answers(
                "ListHTTPEndpoints",
                pb.ListHTTPEndpointsRequest,
                pb.ListHTTPEndpointsResponse,
                self.list_http_endpoints,
            ),
            _answers(
                "ListMCPServers",
                pb.ListMCPServersRequest,
                pb.ListMCPServersResponse,
                self.list_mcp_servers,
            ),
            _answers(
                "ListResiliency",
                pb.ListResiliencyRequest,
                pb.ListResiliencyResponse,
                self.list_resiliency,
            ),
            _answers(
                "ListSubscriptions", Empty, pb.ListSubscriptionsResponse, self.list_subscriptions
            ),
            _answers(
                "ListSubscriptionsV2",
                pb.ListSubscriptionsRequest,
                pb.ListSubscriptionsResponse,
                self.list_subscriptions,
            ),
            _answers(
                "ListWorkflowAccessPolicy",
                pb.ListWorkflowAccessPolicyRequest,
                pb.ListWorkflowAccessPolicyResponse,
                self.list_workflow_access_policies,
            ),
            _answers(
                "GetConfiguration",
                pb.GetConfigurationRequest,
                pb.GetConfigurationResponse,
                self.get_configuration,
            ),
            _answers(
                "GetResiliency",
                pb.GetResiliencyRequest,
                pb.GetResiliencyResponse,
                self.get_resiliency,
            ),
            self._follows("ComponentUpdate", pb.ComponentUpdateRequest, COMPONENT),
            self._follows("HTTPEndpointUpdate", pb.HTTPEndpointUpdateRequest, HTTP_ENDPOINT),
            self._follows("MCPServerUpdate", pb.MCPServerUpdateRequest, MCP_SERVER),
            self._follows("ResiliencyUpdate", pb.ResiliencyUpdateRequest, RESILIENCY),
            self._follows("SubscriptionUpdate", pb.SubscriptionUpdateRequest, SUBSCRIPTION),
            self._follows(
                "WorkflowAccessPolicyUpdate",
                pb.WorkflowAccessPolicyUpdateRequest,
                WORKFLOW_ACCESS_POLICY,
            ),
            Method(
                f"{_SERVICE}ConfigurationUpdate",
                "unary_stream",
                pb.ConfigurationUpdateRequest,
                None,
                self.configuration_update,
            ),
        ]

    async def run(self) -> None:
        """Send changes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, feed in self._feeds.items():
                tasks.create_task(feed.run(), name=f"send {kind.kind.plural}")

    def close(self) -> None:
        """End every stream, and let no more begin."""
        for feed in self._feeds.values():
            feed.close()

    # --- what there is ----------------------------------------------------------------------

    async def list_components(
        self, request: pb.ListComponentsRequest, context: Context
    ) -> pb.ListComponentResponse:
        """Those whose scopes have the caller."""
        identity = authorized(context, request.namespace)
        found = visible(await self._all(COMPONENT, request.namespace), identity.app_id)
        return pb.ListComponentResponse(components=await self._filled(COMPONENT, found))

    async def list_http_endpoints(
        self, request: pb.ListHTTPEndpointsRequest, context: Context
    ) -> pb.ListHTTPEndpointsResponse:
        """As with components: those for others may have secrets in their headers."""
        identity = authorized(context, request.namespace)
        found = visible(await self._all(HTTP_ENDPOINT, request.namespace), identity.app_id)
        bodies = await self._filled(HTTP_ENDPOINT, found)
        return pb.ListHTTPEndpointsResponse(http_endpoints=bodies)

    async def list_mcp_servers(
        self, request: pb.ListMCPServersRequest, context: Context
    ) -> pb.ListMCPServersResponse:
        """Those whose scopes have the caller."""
        identity = authorized(context, request.namespace)
        found = visible(await self._all(MCP_SERVER, request.namespace), identity.app_id)
        return pb.ListMCPServersResponse(mcp_servers=await self._filled(MCP_SERVER, found))

    async def list_resiliency(
        self, request: pb.ListResiliencyRequest, context: Context
    ) -> pb.ListResiliencyResponse:
        authorized(context, request.namespace)
        found = await self._all(RESILIENCY, request.namespace)
        return pb.ListResiliencyResponse(resiliencies=[one.json for one in found])

    async def list_subscriptions(
        self, request: pb.ListSubscriptionsRequest | Empty, context: Context
    ) -> pb.ListSubscriptionsResponse:
        """The first version of this method has no namespace, and so nobody may call it."""
        namespace = "" if isinstance(request, Empty) else request.namespace
        authorized(context, namespace)
        found = await self._all(SUBSCRIPTION, namespace)
        return pb.ListSubscriptionsResponse(subscriptions=[one.json for one in found])

    async def list_workflow_access_policies(
        self, request: pb.ListWorkflowAccessPolicyRequest, context: Context
    ) -> pb.ListWorkflowAccessPolicyResponse:
        authorized(context, request.namespace)
        found = await self._all(WORKFLOW_ACCESS_POLICY, request.namespace)
        return pb.ListWorkflowAccessPolicyResponse(policies=[one.json for one in found])

    async def get_configuration(
        self, request: pb.GetConfigurationRequest, context: Context
    ) -> pb.GetConfigurationResponse:
        """Any Configuration of the namespace, whole or not at all."""
        authorized(context, request.namespace)
        found = await self._one(CONFIGURATION, request.namespace, request.name)
        try:
            filled = await self._secrets.filled(CONFIGURATION, found)
        except SecretsUnreachableError as error:
            raise RpcError(GrpcCode.UNAVAILABLE, str(error)) from error
        if filled.missing:
            what = f"Configuration {found.namespace}/{found.name}: header "
            raise RpcError(GrpcCode.UNKNOWN, what + "; header ".join(filled.missing))
        return pb.GetConfigurationResponse(configuration=found.json_of(filled.body))

    async def get_resiliency(
        self, request: pb.GetResiliencyRequest, context: Context
    ) -> pb.GetResiliencyResponse:
        authorized(context, request.namespace)
        found = await self._one(RESILIENCY, request.namespace, request.name)
        return pb.GetResiliencyResponse(resiliency=found.json)

    # --- what changes -----------------------------------------------------------------------

    async def configuration_update(
        self, request: pb.ConfigurationUpdateRequest, context: Context
    ) -> None:
        """Only of the Configuration that the caller's pods name, whichever that is by then."""
        try:
            identity = authorized(context, request.namespace)
        except RpcError as error:
            text = f"failed to authorize configuration update request: {error.message}"
            raise RpcError(error.code, text) from error

        def is_assigned(name: str) -> bool:
            return name == assigned_configuration(self._pods, identity.namespace, identity.app_id)

        await self._follow(CONFIGURATION, identity, context, is_assigned)

    def _follows(self, name: str, request_type: Any, kind: DaprKind) -> Method:
        async def follow(request: Any, context: Context) -> None:
            await self._follow(kind, authorized(context, request.namespace), context)

        return Method(_SERVICE + name, "unary_stream", request_type, None, follow)

    async def _follow(
        self, kind: DaprKind, identity: SpiffeId, context: Context, accepts: Accepts | None = None
    ) -> None:
        subscription = Subscription(identity, accepts)
        with self._feeds[kind].subscribed(subscription):
            await subscription.send_to(context)

    # --- inside -----------------------------------------------------------------------------

    async def _all(self, kind: DaprKind, namespace: str) -> list[Resource]:
        await self._known(kind)
        return self._cache[kind].of_namespace(namespace)

    async def _one(self, kind: DaprKind, namespace: str, name: str) -> Resource:
        await self._known(kind)
        found = self._cache[kind].get(namespace, name)
        if found is None:
            raise RpcError(
                GrpcCode.UNKNOWN, f"there is no {kind.word} '{name}' in namespace '{namespace}'"
            )
        return found

    async def _known(self, kind: DaprKind) -> None:
        """A list of half of the objects would be taken for all of them."""
        settled = self._cache[kind].settled
        if settled.is_set():
            return
        try:
            async with asyncio.timeout(_KNOWN_SECONDS):
                await settled.wait()
        except TimeoutError:
            text = f"the operator does not know yet which {kind.kind.plural} there are"
            raise RpcError(GrpcCode.UNAVAILABLE, text) from None

    async def _filled(self, kind: DaprKind, resources: Sequence[Resource]) -> list[bytes]:
        """Their JSON. A value whose secret is missing stays away; nothing else does for it."""
        wanting = [one for one in resources if one.secrets]
        try:
            filled = await asyncio.gather(*(self._secrets.filled(kind, one) for one in wanting))
        except SecretsUnreachableError as error:
            raise RpcError(GrpcCode.UNAVAILABLE, str(error)) from error
        texts = {one.key: one.json_of(each.body) for one, each in zip(wanting, filled, strict=True)}
        return [texts.get(one.key) or one.json for one in resources]


def _answers(
    name: str, request_type: Any, response_type: Any, handler: Callable[..., Any]
) -> Method:
    return Method(_SERVICE + name, "unary_unary", request_type, response_type, handler)


def _raw(message: Message) -> bytes:
    return bytes(message.SerializeToString())
