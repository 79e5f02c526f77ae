"""The sidecar's listening servers: started together, drained together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.server import GrpcServer
from dapr_common.http.messages import Handler
from dapr_common.http.server import HttpServer
from dapr_common.observe.logs import get_logger
from dapr_common.observe.metrics import Registry
from dapr_common.observe.serving import MetricsServer
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.listeners import bind_unix, socket_path

_LOG = get_logger("dapr.runtime")
_HEADER_SLACK = 4096


class Servers:
    """Owns every listener of one sidecar."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._http: list[HttpServer] = []
        self._api: HttpServer | None = None
        self._public: HttpServer | None = None
        self._grpc: list[GrpcServer] = []
        self._sockets: list[str] = []
        self._metrics: MetricsServer | None = None

    async def start_http(self, handler: Handler) -> int:
        """The HTTP API. Returns the bound port (0 for a Unix socket)."""
        options = self._options
        server = HttpServer(
            handler,
            max_body_bytes=options.max_body_bytes,
            max_header_bytes=options.read_buffer_bytes + _HEADER_SLACK,
            h2c=options.h2c,
        )
        self._http.append(server)
        self._api = server
        if options.unix_domain_socket:
            await self._unix("HTTP server", server.listen_unix, "http")
            return 0
        return await bind_all(
            "HTTP server", server.listen_tcp, options.listen_addresses, options.http_port
        )

    def set_http(self, handler: Handler, public: Handler) -> None:
        """Give the requests of the HTTP API and the public port to other handlers from now on."""
        if self._api is not None:
            self._api.handler = handler
        if self._public is not None:
            self._public.handler = public

    async def start_grpc(self, server: GrpcServer) -> int:
        """The gRPC API. Returns the bound port (0 for a Unix socket)."""
        options = self._options
        self._grpc.append(server)
        if options.unix_domain_socket:
            await self._unix("gRPC server", server.listen_unix, "grpc")
            return 0
        return await bind_all(
            "gRPC server", server.listen_tcp, options.listen_addresses, options.grpc_port
        )

    async def start_public(self, handler: Handler) -> None:
        """The public port, when one is asked for."""
        options = self._options
        if options.public_port is None:
            return
        server = HttpServer(
            handler,
            max_body_bytes=options.max_body_bytes,
            max_header_bytes=options.read_buffer_bytes + _HEADER_SLACK,
            h2c=options.h2c,
        )
        self._http.append(server)
        self._public = server
        addresses = [options.public_listen_address] if options.public_listen_address else []
        await bind_all("public HTTP server", server.listen_tcp, addresses, options.public_port)

    async def start_metrics(self, registry: Registry) -> None:
        """The metrics server; it answers on every path and stops last."""
        options = self._options
        self._metrics = MetricsServer(registry)
        await self._metrics.open(options.metrics_listen_address, options.metrics_port)

    def own(self, server: GrpcServer) -> None:
        """Drain this already listening server together with the others."""
        self._grpc.append(server)

    def stop_listening(self) -> None:
        """Accept nothing new on the APIs."""
        for http in self._http:
            http.stop_listening()
        for grpc in self._grpc:
            grpc.stop_listening()

    async def close(self, grace: float) -> None:
        """Drain the APIs, then close the rest and unlink sockets."""
        closing: list[Awaitable[None]] = [server.close(grace) for server in self._http]
        closing += [server.close(grace) for server in self._grpc]
        await asyncio.gather(*closing)
        if self._metrics is not None:
            await self._metrics.close()
        for path in self._sockets:
            with contextlib.suppress(OSError):
                Path(path).unlink()  # noqa: ASYNC240 - once, at the end

    async def _unix(
        self, what: str, listen: Callable[[str], Awaitable[None]], protocol: str
    ) -> None:
        options = self._options
        path = socket_path(options.unix_domain_socket, options.app_id, protocol)
        await bind_unix(what, listen, path)
        self._sockets.append(path)


def take_over(live: GrpcServer, made: GrpcServer) -> None:
    """Have a listening server serve what another one would; calls under way go on."""
    live.methods, live.services, live.fallback = made.methods, made.services, made.fallback
    live.before, live.enter, live.after = made.before, made.enter, made.after
    live.map_error = made.map_error
