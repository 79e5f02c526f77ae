"""The API servers as a Configuration wants them; exchanged under open connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dapr_common.grpc.server import GrpcServer, Method
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.grpc.server import GrpcApi, GrpcApiSettings
from dapr_sidecar.api.http.metadata import MetadataRoutes
from dapr_sidecar.api.http.server import HttpApi, HttpApiSettings, PublicApi
from dapr_sidecar.components.middleware.base import HttpMiddleware
from dapr_sidecar.components.middleware.pipeline import Wrapper, wrappers
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.building_blocks import BuildingBlocks
from dapr_sidecar.runtime.invocation import InvocationParts
from dapr_sidecar.runtime.servers import Servers, take_over
from dapr_sidecar.runtime.telemetry import Telemetry


class Apis:
    """HTTP, public and gRPC API, and the middleware pipelines."""

    def __init__(
        self,
        options: Options,
        context: SidecarContext,
        blocks: BuildingBlocks,
        invocation: InvocationParts,
        middlewares: Mapping[str, Loaded[HttpMiddleware]],
        own_routes: MetadataRoutes,
        own_methods: Sequence[Method],
    ) -> None:
        self._options = options
        self._context = context
        self._blocks = blocks
        self._invocation = invocation
        self._middlewares = middlewares
        self._routes = own_routes
        self._methods = own_methods
        self._http: HttpApi | None = None
        self._grpc: GrpcServer | None = None

    async def start_grpc(self, servers: Servers, telemetry: Telemetry) -> None:
        """Listen for gRPC."""
        self._grpc = self._grpc_api(telemetry).server
        self._context.identity.grpc_port = await servers.start_grpc(self._grpc)

    async def start_http(self, servers: Servers, telemetry: Telemetry) -> None:
        """Listen for HTTP, on the public port as well."""
        self._http = self._http_api(telemetry)
        self.set_pipelines()
        self._context.identity.http_port = await servers.start_http(self._http.handle)
        await servers.start_public(self._public_api().handle)

    def apply(self, servers: Servers, telemetry: Telemetry) -> None:
        """Serve as the context's Configuration says now; calls under way end as they began."""
        if self._grpc is not None:
            take_over(self._grpc, self._grpc_api(telemetry).server)
        if self._http is not None:
            self._http = self._http_api(telemetry)
            self.set_pipelines()
            servers.set_http(self._http.handle, self._public_api().handle)

    def set_pipelines(self) -> None:
        """Build both middleware pipelines from the live components."""
        if self._http is not None:
            self._http.set_middlewares(self._pipeline("httpPipeline"))
        self._invocation.block.set_app_middlewares(self._pipeline("appHttpPipeline"))

    def _pipeline(self, section: str) -> list[Wrapper]:
        live = {name: entry.component for name, entry in self._middlewares.items()}
        return wrappers(self._spec.get(section) or {}, live, section)

    @property
    def _spec(self) -> Mapping[str, Any]:
        return self._context.configuration

    def _http_api(self, telemetry: Telemetry) -> HttpApi:
        return HttpApi(
            [*self._routes.all(), *self._blocks.routes()],
            self._invocation.http,
            AllowList(self._spec, "http"),
            telemetry.http,
            self._http_settings(),
        )

    def _public_api(self) -> PublicApi:
        return PublicApi(self._routes.public(), AllowList(self._spec, "http"))

    def _grpc_api(self, telemetry: Telemetry) -> GrpcApi:
        options = self._options
        methods: list[Method] = [
            *self._methods,
            *self._blocks.methods(),
            *self._invocation.methods(),
        ]
        return GrpcApi(
            methods,
            self._invocation.proxy,
            AllowList(self._spec, "grpc"),
            telemetry.grpc,
            GrpcApiSettings(
                max_message_bytes=options.max_body_bytes,
                read_buffer_bytes=options.read_buffer_bytes,
                api_token=options.api_token,
                log_calls=self._http_settings().log_calls,
            ),
        )

    def _http_settings(self) -> HttpApiSettings:
        options = self._options
        logging: Mapping[str, Any] = (self._spec.get("logging") or {}).get("apiLogging") or {}
        enabled = options.api_logging
        return HttpApiSettings(
            api_token=options.api_token,
            allowed_origins=options.allowed_origins,
            log_calls=logging.get("enabled") is True if enabled is None else enabled,
            log_omit_health=logging.get("omitHealthChecks") is True,
            log_obfuscate=logging.get("obfuscateURLs") is True,
        )
