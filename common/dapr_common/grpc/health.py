"""The standard health service, ``grpc.health.v1.Health``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.errors import RpcError
from dapr_common.wire.grpc.health.v1 import health_pb2

_SERVICE = "/grpc.health.v1.Health/"


class HealthService:
    """What a server says about its services; the empty name stands for the whole server."""

    def __init__(self) -> None:
        self._statuses: dict[str, health_pb2.HealthCheckResponse.ServingStatus] = {
            "": health_pb2.HealthCheckResponse.SERVING
        }
        self._changed: set[asyncio.Event] = set()

    def set(self, service: str, *, serving: bool) -> None:
        """State whether a service works; watchers are told."""
        response = health_pb2.HealthCheckResponse
        self._statuses[service] = response.SERVING if serving else response.NOT_SERVING
        for event in self._changed:
            event.set()

    def shut_down(self) -> None:
        """Nothing is served any more."""
        for service in self._statuses:
            self.set(service, serving=False)

    def methods(self) -> list[Method]:
        """The service's methods."""
        types = (health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
        return [
            Method(_SERVICE + "Check", "unary_unary", *types, self._check),
            Method(_SERVICE + "Watch", "unary_stream", *types, self._watch),
        ]

    async def _check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            raise RpcError(GrpcCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=status)

    async def _watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        changed = asyncio.Event()
        self._changed.add(changed)
        told: int | None = None
        try:
            while True:
                changed.clear()
                unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                status = self._statuses.get(request.service, unknown)
                if status != told:
                    told = status
                    yield health_pb2.HealthCheckResponse(status=status)
                await changed.wait()
        finally:
            self._changed.discard(changed)
