"""Service invocation's parts, put together: block, entrances, internal server, name resolver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.server import Method
from dapr_sidecar.api.grpc import invocation as grpc_invocation
from dapr_sidecar.api.grpc.internal import InternalApi, InternalApiSettings
from dapr_sidecar.api.grpc.proxy import ProxyApi
from dapr_sidecar.api.http.invocation import InvocationApi
from dapr_sidecar.blocks import access_control
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.internal_port import choose_port
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.naming import Naming
from dapr_sidecar.runtime.servers import take_over
from dapr_sidecar.telemetry.base import Metrics
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity


@dataclass(frozen=True, slots=True)
class Entrances:
    """Where other apps' calls come in, as one Configuration has them."""

    proxy: Method
    internal: InternalApi


class InvocationParts:
    """Raises ``AccessControlError`` for rules that cannot be used."""

    def __init__(
        self,
        context: SidecarContext,
        options: Options,
        telemetry: GrpcServerTelemetry,
        security: SidecarSecurity | None = None,
    ) -> None:
        self._context = context
        self._options = options
        self._security = security
        self._naming = Naming(context.identity, options)
        self.block = InvocationBlock(
            context, security=security, max_message_bytes=options.max_body_bytes
        )
        self.http = InvocationApi(self.block)
        self._more: list[Method] = []
        entrances = self.prepare(context.configuration, telemetry, context.metrics)
        self.proxy = entrances.proxy
        self.internal = entrances.internal

    def prepare(
        self, spec: Mapping[str, Any], telemetry: GrpcServerTelemetry, metrics: Metrics
    ) -> Entrances:
        """Entrances with the rules of a Configuration. Raises ``AccessControlError``."""
        options = self._options
        http = options.app_protocol not in ("grpc", "grpcs")
        rules = access_control.build(spec.get("accessControl"), http=http, metrics=metrics)
        proxy = ProxyApi(self.block, rules)
        internal = InternalApi(
            self.block,
            rules,
            proxy.internal_method(),
            telemetry,
            InternalApiSettings(
                max_message_bytes=options.max_body_bytes,
                read_buffer_bytes=options.read_buffer_bytes,
            ),
        )
        for method in self._more:
            internal.server.add(method)
        return Entrances(proxy.method(), internal)

    def serve_internally(self, methods: Sequence[Method]) -> None:
        """Serve these to other sidecars, too."""
        self._more.extend(methods)
        for method in methods:
            self.internal.server.add(method)

    def apply(self, entrances: Entrances) -> None:
        """Let calls in by these from now on; the server goes on listening."""
        self.proxy = entrances.proxy
        take_over(self.internal.server, entrances.internal.server)

    def methods(self) -> list[Method]:
        """The gRPC API's methods."""
        return grpc_invocation.methods(self.block)

    async def listen(self) -> None:
        """Bind the internal server."""
        options, identity = self._options, self._context.identity
        port = options.internal_port or choose_port(identity.app_id, identity.hostname)
        address = options.internal_listen_address.strip("[]")
        identity.internal_port = await bind_all(
            "gRPC internal server", self._bind, [address] if address else [], port
        )

    async def _bind(self, host: str | None, port: int) -> int:
        security, server = self._security, self.internal.server
        if security is None:
            return await server.listen_tcp(host, port)
        context = security.contexts.mutual_server
        return await server.listen_tcp(host, port, ssl=context, identify=security.identify)

    async def start(self) -> None:
        """Start the name resolver and take calls; a resolver that fails is reported only."""
        await self._naming.start(self._resolution)
        self.block.start(self._naming.resolver)

    async def change_naming(self) -> None:
        """Use the name resolver that the context's Configuration has now."""
        before = await self._naming.change(self._resolution)
        self.block.start(self._naming.resolver)
        if before is not None:
            await before.close()

    async def withdraw(self) -> None:
        """Have nobody find this sidecar any more."""
        await self._naming.withdraw()

    async def close(self) -> None:
        """Close the name resolver and cut connections to others."""
        await self._naming.close()
        await self.block.close()

    @property
    def _resolution(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self._context.configuration
        return spec.get("nameResolution") or {}
