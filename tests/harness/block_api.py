"""Blocks behind their real routes and gRPC methods, without a whole sidecar."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from dapr_common.errors import DaprError
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.http.messages import Header, Request
from dapr_common.kube import resources
from dapr_common.observe.metrics import Registry
from dapr_common.observe.tracing import Tracer
from dapr_sidecar.api.grpc.errors import to_rpc_error
from dapr_sidecar.api.http.errors import render, render_unknown
from dapr_sidecar.api.http.routing import Route, Router, decode_params
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.telemetry.metrics import SidecarMetrics

SERVICE = "/dapr.proto.runtime.v1.Dapr/"


def make_context(configuration: Mapping[str, object] | None = None) -> SidecarContext:
    """A sidecar's surroundings without any component."""
    identity = SidecarIdentity("app1", "", "default", "127.0.0.1", "host")
    metrics = SidecarMetrics(Registry(), "default", (1.0, 10.0))
    return SidecarContext(
        identity, LoadedPolicies(), metrics, Tracer(0), configuration=configuration or {}
    )


def make(kind: type[Any], name: str = "c", **properties: str) -> Any:
    """A component from manifest values, not opened yet."""
    context = ComponentContext(name, "app1", "", dict(properties))
    return kind(decode_settings(kind.settings, properties), context)


def loaded(name: str, component: Component, extra: object = None, **properties: str) -> Loaded[Any]:
    """A component as the blocks see it."""
    lowered = {key.lower(): value for key, value in properties.items()}
    return Loaded(resources.Component(name, "kind.fake"), component, lowered, extra)


class Answer:
    """An HTTP answer, read to its end."""

    def __init__(self, status: int, headers: list[Header], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower().decode(): value.decode() for name, value in headers}
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        return self.status, self.json["errorCode"], self.json["message"]


class HttpApi:
    """Calls routes as the HTTP server does."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._router = Router(routes)

    async def call(
        self, method: str, target: str, body: object = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        path, _, query = target.encode().partition(b"?")
        match = self._router.find(method, path)
        if match is None:
            return Answer(404, [], b"no route")
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        request = Request(method, path, query, pairs, body=raw, content_length=len(raw))
        try:
            response = await match.route.handler(request, *decode_params(match.params))
            content = response.body
            if not isinstance(content, bytes):
                content = b"".join([chunk async for chunk in content])
        except DaprError as error:
            response = render(error)
            content = response.body
        except Exception as error:  # noqa: BLE001 - as the server does
            response = render_unknown(error)
            content = response.body
        assert isinstance(content, bytes)
        return Answer(response.status, response.headers, content)


@asynccontextmanager
async def grpc_api(methods: Iterable[Method]) -> AsyncIterator[GrpcChannel]:
    """A client of a real gRPC server with these methods."""
    server = GrpcServer(max_receive_bytes=4 << 20, map_error=_map_error)
    for method in methods:
        server.add(method)
    port = await server.listen_tcp("127.0.0.1", 0)
    channel = GrpcChannel(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()
        await server.close(0)


def _map_error(error: Exception) -> RpcError | None:
    return to_rpc_error(error) if isinstance(error, DaprError) else None
