"""Service invocation's parts, put together: block, entrances, internal server, name resolver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dapr_common.aio.listeners import bind_all
from dapr_common.grpc.server import Method
from dapr_common.observe.logs import get_logger
from dapr_sidecar.api.grpc import invocation as grpc_invocation
from dapr_sidecar.api.grpc.internal import InternalApi, InternalApiSettings
from dapr_sidecar.api.grpc.proxy import ProxyApi
from dapr_sidecar.api.http.invocation import InvocationApi
from dapr_sidecar.blocks import access_control
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings, unknown_names
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.components.registry import component_class
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.internal_port import choose_port
from dapr_sidecar.options import Options
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity

_LOG = get_logger("dapr.runtime")
_LOOPBACKS = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_RESOLVERS = {"standalone": "mdns", "kubernetes": "kubernetes"}  # by --mode


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
        spec: Mapping[str, Any] = context.configuration
        http = options.app_protocol not in ("grpc", "grpcs")
        rules = access_control.build(spec.get("accessControl"), http=http, metrics=context.metrics)
        self._resolution: Mapping[str, Any] = spec.get("nameResolution") or {}
        self._resolver: Resolver | None = None
        self.block = InvocationBlock(
            context, security=security, max_message_bytes=options.max_body_bytes
        )
        self.http = InvocationApi(self.block)
        proxy = ProxyApi(self.block, rules)
        self.proxy: Method = proxy.method()
        self.internal = InternalApi(
            self.block,
            rules,
            proxy.internal_method(),
            telemetry,
            InternalApiSettings(
                max_message_bytes=options.max_body_bytes,
                read_buffer_bytes=options.read_buffer_bytes,
            ),
        )

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
        try:
            self._resolver = await self._open_resolver()
        except Exception as error:  # noqa: BLE001 - whatever a component does, the rest works
            _LOG.error("name resolution could not be started, invocation will fail: %s", error)
        self.block.start(self._resolver)

    async def withdraw(self) -> None:
        """Have nobody find this sidecar any more."""
        if self._resolver is not None:
            await self._resolver.withdraw()

    async def close(self) -> None:
        """Close the name resolver and cut connections to others."""
        if self._resolver is not None:
            await self._resolver.close()
        await self.block.close()

    async def _open_resolver(self) -> Resolver:
        identity, options = self._context.identity, self._options
        name = str(self._resolution.get("component") or _DEFAULT_RESOLVERS[options.mode])
        version = str(self._resolution.get("version") or "v1")
        found = component_class(f"nameresolution.{name}", version)
        properties = _properties(self._resolution.get("configuration") or {})
        for unknown, near in unknown_names(found.settings, properties).items():
            hint = "" if near is None else f", did you mean '{near}'?"
            _LOG.warning("name resolution: %s: '%s' is not known%s", name, unknown, hint)
        settings = decode_settings(found.settings, properties)
        context = ComponentContext(name, identity.app_id, identity.invocation_namespace, properties)
        resolver = found(settings, context)
        if not isinstance(resolver, Resolver):
            raise TypeError(f"{name} is no name resolver")
        listen = options.internal_listen_address
        instance = Instance(
            app_id=identity.app_id,
            namespace=identity.invocation_namespace,
            host_address=listen.strip("[]") if listen in _LOOPBACKS else identity.host_address,
            http_port=identity.http_port,
            internal_port=identity.internal_port,
            app_port=identity.app_port,
        )
        try:
            await resolver.open()
            await resolver.register(instance)
        except BaseException:
            await resolver.close()
            raise
        _LOG.info("Initialized name resolution to %s", name)
        return resolver


def _properties(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Settings as texts; what is not a text is written as JSON."""
    return {
        str(key).lower(): value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in configuration.items()
        if value is not None
    }
