"""The operator's gRPC API as a sidecar uses it: raw JSON in, nothing decoded here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.dapr.proto.operator.v1 import operator_pb2 as pb
from dapr_sidecar.runtime.security import SidecarSecurity

LIST_SECONDS = 5.0
_OPERATOR = "/dapr.proto.operator.v1.Operator/"
_REPORT = "/daprpy.operator.v1.SidecarStatus/Report"
_CONNECT_SECONDS = 5.0
_LONGEST_REDIAL_SECONDS = 1.0
_MAX_BYTES = 64 << 20  # all components of a namespace are one message


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """One kind of resource: how it is listed and followed, and where messages have it."""

    name: str
    api_version: str
    list_method: str
    list_request: Any
    list_response: Any
    listed: str
    update_method: str
    update_request: Any
    event: Any
    changed: str


COMPONENTS = WatchedKind(
    "Component",
    "dapr.io/v1alpha1",
    "ListComponents",
    pb.ListComponentsRequest,
    pb.ListComponentResponse,
    "components",
    "ComponentUpdate",
    pb.ComponentUpdateRequest,
    pb.ComponentUpdateEvent,
    "component",
)
SUBSCRIPTIONS = WatchedKind(
    "Subscription",
    "dapr.io/v2alpha1",
    "ListSubscriptionsV2",
    pb.ListSubscriptionsRequest,
    pb.ListSubscriptionsResponse,
    "subscriptions",
    "SubscriptionUpdate",
    pb.SubscriptionUpdateRequest,
    pb.SubscriptionUpdateEvent,
    "subscription",
)
RESILIENCIES = WatchedKind(
    "Resiliency",
    "dapr.io/v1alpha1",
    "ListResiliency",
    pb.ListResiliencyRequest,
    pb.ListResiliencyResponse,
    "resiliencies",
    "ResiliencyUpdate",
    pb.ResiliencyUpdateRequest,
    pb.ResiliencyUpdateEvent,
    "resiliency",
)
HTTP_ENDPOINTS = WatchedKind(
    "HTTPEndpoint",
    "dapr.io/v1alpha1",
    "ListHTTPEndpoints",
    pb.ListHTTPEndpointsRequest,
    pb.ListHTTPEndpointsResponse,
    "http_endpoints",
    "HTTPEndpointUpdate",
    pb.HTTPEndpointUpdateRequest,
    pb.HTTPEndpointUpdateEvent,
    "http_endpoints",
)
CONFIGURATIONS = WatchedKind(
    "Configuration",
    "dapr.io/v1alpha1",
    "GetConfiguration",
    pb.GetConfigurationRequest,
    pb.GetConfigurationResponse,
    "configuration",
    "ConfigurationUpdate",
    pb.ConfigurationUpdateRequest,
    pb.ConfigurationUpdateEvent,
    "configuration",
)
LISTED = (COMPONENTS, SUBSCRIPTIONS, RESILIENCIES, HTTP_ENDPOINTS)


class OperatorClient:
    """Calls in the name of this sidecar, in its namespace. Every call raises ``RpcError``."""

    def __init__(self, address: str, namespace: str, security: SidecarSecurity) -> None:
        self.namespace = namespace
        self._address = address
        self._security = security
        self._channel = self._connect()

    async def list(self, kind: WatchedKind) -> list[bytes]:
        """Every resource of a kind."""
        request = kind.list_request(namespace=self.namespace)
        answer = await self._unary(kind, request)
        return list(getattr(answer, kind.listed))

    async def configuration(self, name: str) -> bytes:
        """One Configuration; the operator's error when there is none."""
        request = CONFIGURATIONS.list_request(name=name, namespace=self.namespace)
        return bytes((await self._unary(CONFIGURATIONS, request)).configuration)

    @asynccontextmanager
    async def updates(self, kind: WatchedKind) -> AsyncIterator[Updates]:
        """What changes from now on."""
        channel = self._channel
        request = kind.update_request(namespace=self.namespace)
        async with await channel.open(_OPERATOR + kind.update_method) as call:
            await call.send(request)
            await call.half_close()
            yield Updates(call, kind, channel)

    @asynccontextmanager
    async def reports(self) -> AsyncIterator[Call]:
        """A stream to tell the operator how resources fare."""
        async with await self._channel.open(_REPORT) as call:
            yield call

    async def leave(self, channel: GrpcChannel) -> None:
        """Nobody answers over this channel any more: the next calls take another one."""
        if channel is self._channel:
            self._channel = self._connect()
            await channel.close()

    async def close(self) -> None:
        """End every call."""
        await self._channel.close()

    async def _unary(self, kind: WatchedKind, request: Any) -> Any:
        method = _OPERATOR + kind.list_method
        result = await self._channel.unary(
            method, request, kind.list_response, timeout=LIST_SECONDS
        )
        return result.message

    def _connect(self) -> GrpcChannel:
        return GrpcChannel(
            self._address,
            ssl=self._security.client_context(),
            verify_peer=self._security.verify_operator,
            max_receive_bytes=_MAX_BYTES,
            connect_timeout=_CONNECT_SECONDS,
            backoff=Backoff(limit=_LONGEST_REDIAL_SECONDS),
        )


class Updates:
    """One open stream of a kind."""

    def __init__(self, call: Call, kind: WatchedKind, channel: GrpcChannel) -> None:
        self.channel = channel
        self._call = call
        self._kind = kind

    async def wait_registered(self, seconds: float) -> None:
        """Wait until the operator has certainly heard of this stream.

        One that says so at once is waited for; others only with the first event, so not for long.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._call.initial_metadata()

    async def next(self, seconds: float) -> tuple[int, bytes] | None:
        """Type and JSON of the next change; ``None`` at the end of the stream.

        Raises ``TimeoutError`` when there is none for so long.
        """
        async with asyncio.timeout(seconds):
            raw = await self._call.next_message()
        if raw is None:
            return None
        try:
            event = self._kind.event.FromString(raw)
        except DecodeError as error:
            raise RpcError(GrpcCode.INTERNAL, f"an event cannot be read: {error}") from error
        return event.type, bytes(getattr(event, self._kind.changed))
