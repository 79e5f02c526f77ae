"""Small sidecars in this process: the invocation block between real servers and fake apps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from dapr_common.errors import DaprError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.http.client import HttpClient
from dapr_common.http.messages import Header, Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.observe.metrics import Registry
from dapr_common.observe.tracing import Tracer
from dapr_sidecar.api.grpc.internal import InternalApi, InternalApiSettings
from dapr_sidecar.api.grpc.invocation import methods as grpc_methods
from dapr_sidecar.api.grpc.proxy import ProxyApi
from dapr_sidecar.api.grpc.server import map_error
from dapr_sidecar.api.http.errors import render
from dapr_sidecar.api.http.invocation import InvocationApi
from dapr_sidecar.blocks.access_control import AccessControl
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Resolver
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics

LIMIT = 1 << 20


class Table(Resolver):
    """Resolves from a dictionary."""

    def __init__(self) -> None:
        super().__init__(None, ComponentContext("table", "any"))
        self.addresses: dict[str, str] = {}
        self.asked: list[str] = []
        self.forgotten: list[str] = []

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        self.asked.append(app_id)
        if app_id not in self.addresses:
            raise LookupError(f"couldn't find service: {app_id}")
        return self.addresses[app_id]

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        self.forgotten.append(address)


class MiniSidecar:
    """Entrances, block and internal server of one sidecar."""

    def __init__(
        self, app_id: str, resolver: Resolver | None, access_control: AccessControl | None = None
    ) -> None:
        self.tracer = Tracer(0)
        registry = Registry()
        self.identity = SidecarIdentity(app_id, "", "default", "10.9.9.1", "vm")
        metrics = SidecarMetrics(registry, "default", (1.0, 10.0))
        self.context = SidecarContext(self.identity, LoadedPolicies(), metrics, self.tracer)
        self.block = InvocationBlock(self.context, max_message_bytes=LIMIT)
        self.api = InvocationApi(self.block)
        self.http = HttpServer(self._handle, max_body_bytes=LIMIT, max_header_bytes=8192)
        telemetry = GrpcServerTelemetry(self.tracer, None, (1.0,))
        proxy = ProxyApi(self.block, access_control)
        self.internal = InternalApi(
            self.block,
            access_control,
            proxy.internal_method(),
            telemetry,
            InternalApiSettings(max_message_bytes=LIMIT, read_buffer_bytes=4096),
        )
        self.grpc = GrpcServer(max_receive_bytes=LIMIT, map_error=map_error)
        for method in grpc_methods(self.block):
            self.grpc.add(method)
        self.grpc.fallback = proxy.method()
        self.resolver = resolver

    async def start(self) -> None:
        self.http_port = await self.http.listen_tcp("127.0.0.1", 0)
        self.grpc_port = await self.grpc.listen_tcp("127.0.0.1", 0)
        self.internal_port = await self.internal.server.listen_tcp("127.0.0.1", 0)
        self.identity.internal_port = self.internal_port
        self.block.start(self.resolver)
        self.client = HttpClient("127.0.0.1", self.http_port)

    async def stop(self) -> None:
        await self.client.close()
        await self.http.close(0)
        await self.grpc.close(0)
        await self.internal.server.close(0)
        await self.block.close()
        channel = self.context.channel
        if isinstance(channel, (HttpChannel, AppGrpcChannel)):
            await channel.close()

    async def _handle(self, request: Request) -> Response:
        try:
            return await self.api.handle(request)
        except DaprError as error:
            return render(error)

    async def call(
        self,
        method: str,
        path: str,
        headers: list[Header] | None = None,
        body: Any = None,
        **more: Any,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        response = await self.client.request(method, path.encode(), headers or [], body, **more)
        return response.status, dict(response.headers), await response.read()


class FakeApp:
    """An HTTP app that keeps what it was asked."""

    def __init__(self, handler: Callable[[Request], Awaitable[Response]] | None = None) -> None:
        self.requests: list[Request] = []
        self._handler = handler
        self.server = HttpServer(self._serve, max_body_bytes=None, max_header_bytes=16384)
        self.port = 0

    async def _serve(self, request: Request) -> Response:
        self.requests.append(request)
        if self._handler is not None:
            return await self._handler(request)
        return Response(200, [(b"Content-Type", b"text/plain")], await request.read())

    def header(self, name: bytes, index: int = -1) -> list[bytes]:
        return [v for n, v in self.requests[index].headers if n == name]


@asynccontextmanager
async def http_app(
    sidecar: MiniSidecar,
    handler: Callable[[Request], Awaitable[Response]] | None = None,
    **options: Any,
) -> AsyncIterator[FakeApp]:
    app = FakeApp(handler)
    app.port = await app.server.listen_tcp("127.0.0.1", 0)
    sidecar.context.channel = HttpChannel(
        "127.0.0.1",
        app.port,
        protocol="http",
        token=options.get("token", ""),
        max_concurrency=options.get("max_concurrency", 0),
        max_header_bytes=4096,
        metrics=sidecar.context.metrics,
    )
    try:
        yield app
    finally:
        await app.server.close(0)


@asynccontextmanager
async def grpc_app(sidecar: MiniSidecar, methods: list[Method]) -> AsyncIterator[GrpcServer]:
    server = GrpcServer(max_receive_bytes=LIMIT)
    for method in methods:
        server.add(method)
    port = await server.listen_tcp("127.0.0.1", 0)
    sidecar.context.channel = AppGrpcChannel(
        "127.0.0.1", port, tls=False, token="", max_concurrency=0, max_message_bytes=LIMIT
    )
    try:
        yield server
    finally:
        await server.close(0)


@asynccontextmanager
async def pair(
    access_control: AccessControl | None = None,
) -> AsyncIterator[tuple[MiniSidecar, MiniSidecar]]:
    """Two sidecars, a1 and a2, that find each other."""
    table = Table()
    first, second = MiniSidecar("a1", table), MiniSidecar("a2", table, access_control)
    await first.start()
    await second.start()
    table.addresses["a1"] = f"127.0.0.1:{first.internal_port}"
    table.addresses["a2"] = f"127.0.0.1:{second.internal_port}"
    try:
        yield first, second
    finally:
        await first.stop()
        await second.stop()
        await asyncio.sleep(0)
