"""What one sidecar is made of, and how the parts are wired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from dapr_common.durations import format_go_duration
from dapr_common.grpc.server import Method
from dapr_common.kube.resources import Component, Configuration
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import Tracer
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.grpc import metadata as grpc_metadata
from dapr_sidecar.api.grpc import pubsub as grpc_pubsub
from dapr_sidecar.api.grpc import state as grpc_state
from dapr_sidecar.api.grpc.server import GrpcApi, GrpcApiSettings
from dapr_sidecar.api.http import pubsub as http_pubsub
from dapr_sidecar.api.http import state as http_state
from dapr_sidecar.api.http.metadata import MetadataRoutes
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.api.http.server import HttpApi, HttpApiSettings, PublicApi
from dapr_sidecar.blocks.metadata import AppConnection, MetadataBlock
from dapr_sidecar.blocks.pubsub.publish import PubSubBlock
from dapr_sidecar.blocks.pubsub.subscriptions import SubscriptionSet
from dapr_sidecar.blocks.state.block import StateBlock
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.health import AppHealthProber
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options
from dapr_sidecar.resiliency.none import NoPolicies
from dapr_sidecar.runtime.app import AppLifecycle, Feeder
from dapr_sidecar.runtime.configuration import enabled_features
from dapr_sidecar.runtime.disk import Resources
from dapr_sidecar.runtime.processor import ComponentProcessor, Preparer
from dapr_sidecar.runtime.servers import Servers
from dapr_sidecar.runtime.templates import ValueResolver
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.http_server import HttpServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry, latency_bounds

_LOG = get_logger("dapr.runtime")


class Sidecar:
    """Every part of one running sidecar."""

    def __init__(
        self,
        options: Options,
        identity: SidecarIdentity,
        configuration: Configuration,
        environment: Mapping[str, str],
        ask_to_stop: Callable[[bool], None],
    ) -> None:
        self.options = options
        self.configuration = configuration
        self.readiness = Readiness(("runtime", "grpc-api-server", "grpc-internal-server"))
        self.outbound = Readiness(("outbound",))
        self._environment = environment
        self._ask_to_stop = ask_to_stop
        self._make_telemetry(identity)
        self.channel = self._make_channel()
        self.context.channel = self.channel
        self._make_blocks()
        self.processor = ComponentProcessor(
            self.context,
            ValueResolver(options.app_id, options.namespace, environment),
            self._preparers(),
        )
        self.servers = Servers(options)
        self.app = self._make_app()

    # --- parts ------------------------------------------------------------------------------

    def _make_telemetry(self, identity: SidecarIdentity) -> None:
        spec: Mapping[str, Any] = self.configuration.spec
        metering: dict[str, Any] = {**spec.get("metric", {}), **spec.get("metrics", {})}
        bounds = latency_bounds(metering)
        self.registry = build_registry(self.options.app_id, metering)
        self.metering = self.options.metrics_enabled and metering.get("enabled") is not False
        self.tracer = Tracer(0)
        metrics = SidecarMetrics(self.registry, identity.invocation_namespace, bounds)
        self.context = SidecarContext(
            identity, NoPolicies(), metrics, self.tracer, configuration=spec
        )
        registry = self.registry if self.metering else None
        self._http_telemetry = HttpServerTelemetry(
            self.tracer,
            registry,
            bounds,
            metering.get("http") or {},
            error_codes=metering.get("recordErrorCodes") is True,
        )
        self._grpc_telemetry = GrpcServerTelemetry(self.tracer, registry, bounds)

    def _make_channel(self) -> HttpChannel | AppGrpcChannel | None:
        options = self.options
        if not options.app_port:
            return None
        if options.app_protocol in ("grpc", "grpcs"):
            return AppGrpcChannel(
                options.app_channel_address,
                options.app_port,
                tls=options.app_protocol == "grpcs",
                token=options.app_token,
                max_concurrency=options.app_max_concurrency,
                max_message_bytes=options.max_body_bytes,
            )
        return HttpChannel(
            options.app_channel_address,
            options.app_port,
            protocol=cast(Literal["http", "https", "h2c"], options.app_protocol),
            token=options.app_token,
            max_concurrency=options.app_max_concurrency,
            max_header_bytes=options.read_buffer_bytes,
            metrics=self.context.metrics,
        )

    def _make_blocks(self) -> None:
        options = self.options
        self.state = StateBlock(self.context)
        self.pubsub = PubSubBlock(self.context)
        self.subscriptions = SubscriptionSet(
            self.pubsub, ask_app=not options.disable_init_subscribe
        )
        self.metadata = MetadataBlock(
            self.context,
            self._connection(),
            self.subscriptions.listing,
            enabled_features(self.configuration),
        )

    def _preparers(self) -> dict[str, Preparer]:
        return {"state": self.state, "pubsub": self.pubsub}

    def _make_app(self) -> AppLifecycle | None:
        options = self.options
        if self.channel is None:
            return None
        prober = None
        if options.app_health.enabled:
            prober = AppHealthProber(
                self.channel,
                path=options.app_health.path,
                interval=options.app_health.interval,
                timeout=options.app_health.timeout,
                threshold=options.app_health.threshold,
                metrics=self.context.metrics,
            )
        feeders: list[Feeder] = [self.subscriptions]
        return AppLifecycle(
            options.app_channel_address,
            options.app_port,
            tls=options.app_protocol in ("https", "grpcs"),
            prober=prober,
            first_time=self._meet_app,
            feeders=feeders,
        )

    def _connection(self) -> AppConnection:
        options = self.options
        health = None
        if options.app_health.enabled:
            checks = options.app_health
            path = checks.path if self._speaks_http() else ""
            health = (
                path,
                format_go_duration(_seconds(checks.interval)),
                format_go_duration(_seconds(checks.timeout)),
                checks.threshold,
            )
        return AppConnection(
            options.app_port,
            options.app_protocol,
            options.app_channel_address,
            options.app_max_concurrency,
            health,
        )

    def _speaks_http(self) -> bool:
        return self.options.app_protocol not in ("grpc", "grpcs")

    # --- APIs -------------------------------------------------------------------------------

    def _routes(self, metadata: MetadataRoutes) -> list[Route]:
        return [
            *metadata.all(),
            *http_state.routes(self.state),
            *http_pubsub.routes(self.pubsub),
        ]

    def _methods(self) -> list[Method]:
        return [
            *grpc_metadata.methods(self.metadata, self._ask_to_stop),
            *grpc_state.methods(self.state),
            *grpc_pubsub.methods(self.pubsub, self.subscriptions),
        ]

    def _http_settings(self) -> HttpApiSettings:
        options = self.options
        spec: Mapping[str, Any] = self.configuration.spec
        logging: Mapping[str, Any] = (spec.get("logging") or {}).get("apiLogging") or {}
        enabled = options.api_logging
        return HttpApiSettings(
            api_token=options.api_token,
            allowed_origins=options.allowed_origins,
            log_calls=logging.get("enabled") is True if enabled is None else enabled,
            log_omit_health=logging.get("omitHealthChecks") is True,
            log_obfuscate=logging.get("obfuscateURLs") is True,
        )

    async def start_servers(self) -> None:
        """Bind every listener; the APIs answer from here on."""
        options, spec = self.options, self.configuration.spec
        identity = self.context.identity
        if self.metering:
            await self.servers.start_metrics(self.registry)
        routes = MetadataRoutes(self.metadata, self.readiness, self.outbound, self._ask_to_stop)
        settings = self._http_settings()
        grpc_api = GrpcApi(
            self._methods(),
            None,
            AllowList(spec, "grpc"),
            self._grpc_telemetry,
            GrpcApiSettings(
                max_message_bytes=options.max_body_bytes,
                read_buffer_bytes=options.read_buffer_bytes,
                api_token=options.api_token,
                log_calls=settings.log_calls,
            ),
        )
        identity.grpc_port = await self.servers.start_grpc(grpc_api.server)
        self.readiness.ready("grpc-api-server")
        self.http_api = HttpApi(
            self._routes(routes),
            _NoInvocation(),
            AllowList(spec, "http"),
            self._http_telemetry,
            settings,
        )
        identity.http_port = await self.servers.start_http(self.http_api.handle)
        await self.servers.start_public(PublicApi(routes.public()).handle)
        self.readiness.ready("grpc-internal-server")

    # --- life -------------------------------------------------------------------------------

    async def run(self, tasks: asyncio.TaskGroup, initialised: Callable[[], None]) -> None:
        """Follow the app; returns when nothing is left to wait for."""
        self.outbound.ready("outbound")
        if self.app is None:
            self._initialised(initialised)
            return
        tasks.create_task(
            self.app.run(lambda: self._initialised(initialised)), name="app-lifecycle"
        )

    def _initialised(self, announce: Callable[[], None]) -> None:
        self.readiness.ready("runtime")
        announce()

    async def _meet_app(self) -> None:
        """What is asked of the app once, when it is first healthy."""
        if self.options.disable_init_config or not isinstance(self.channel, HttpChannel):
            return
        app_id = self.options.app_id.encode()
        headers = [(b"Content-Type", b"application/json"), (b"Dapr-App-Id", app_id)]
        try:
            async with asyncio.timeout(10):
                response = await self.channel.request("GET", b"/dapr/config", headers)
                await response.read()
        except (OSError, TimeoutError) as error:
            _LOG.warning("the app's /dapr/config could not be read: %s", error)

    async def component_changed(self, manifest: Component, live: bool) -> None:
        """A component was reloaded or went."""
        if manifest.category == "pubsub":
            await self.subscriptions.component_changed(manifest.name)

    async def swap_resources(self, resources: Resources) -> None:
        """Put the other kinds of resources in place of what was there."""
        endpoints = {endpoint.name: endpoint for endpoint in resources.http_endpoints}
        self.context.components.http_endpoints = endpoints
        await self.subscriptions.set_declarative(resources.subscriptions)

    def components_loaded(self, count: int) -> None:
        """Every component of the start was loaded."""
        self.context.metrics.component_loaded(count)

    def request_reload(self) -> None:
        """SIGHUP: resources are followed continuously, so there is nothing to do but say so."""
        _LOG.info("SIGHUP received: resource files are followed without it")

    async def stop_feeding(self) -> None:
        """Stop deliveries for good; the APIs go on."""
        await self.subscriptions.drain()
        if self.app is not None:
            await self.app.stop_feeding()

    async def wait_app_unhealthy(self) -> None:
        """Return once the app takes nothing more."""
        if self.app is None:
            await asyncio.Event().wait()
        else:
            await self.app.wait_unhealthy()

    async def stop(self, grace: float | None) -> None:
        """Drain and close everything, outside in."""
        self.readiness.unready("runtime")
        self.servers.stop_listening()
        await self.stop_feeding()
        await self.servers.close(grace if grace is not None else 3600.0)
        await self.processor.close()
        if self.channel is not None:
            await self.channel.close()
        _LOG.info("Dapr runtime stopped")


def _seconds(value: float):  # type: ignore[no-untyped-def]
    from datetime import timedelta

    return timedelta(seconds=value)


class _NoInvocation:
    async def handle(self, request):  # type: ignore[no-untyped-def]
        from dapr_common.errors import DaprError

        raise DaprError(
            "ERR_DIRECT_INVOKE",
            "failed getting app id either from the URL path or the header dapr-app-id",
            http_status=404,
        )
