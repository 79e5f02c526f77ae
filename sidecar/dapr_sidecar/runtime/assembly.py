"""What one sidecar is made of, how the parts are wired, and in which order they start and stop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from dapr_common.durations import format_go_duration
from dapr_common.kube.resources import Component, Configuration, HttpEndpoint, NameValue, Resiliency
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger
from dapr_sidecar.api.allow_list import AllowList
from dapr_sidecar.api.grpc import metadata as grpc_metadata
from dapr_sidecar.api.grpc.server import GrpcApi, GrpcApiSettings
from dapr_sidecar.api.http.metadata import MetadataRoutes
from dapr_sidecar.api.http.server import HttpApi, HttpApiSettings, PublicApi
from dapr_sidecar.blocks.metadata import AppConnection, MetadataBlock
from dapr_sidecar.blocks.secrets import SecretResolver
from dapr_sidecar.channel.grpc import AppGrpcChannel
from dapr_sidecar.channel.health import AppHealthProber
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.components.middleware.pipeline import Wrapper, wrappers
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.resiliency.runner import Surroundings
from dapr_sidecar.resiliency.spec import SpecError, read_spec
from dapr_sidecar.runtime.app import AppLifecycle
from dapr_sidecar.runtime.app_config import read_app_config
from dapr_sidecar.runtime.building_blocks import BuildingBlocks
from dapr_sidecar.runtime.configuration import enabled_features
from dapr_sidecar.runtime.disk import Resources
from dapr_sidecar.runtime.endpoints import resolve_endpoint
from dapr_sidecar.runtime.invocation import InvocationParts
from dapr_sidecar.runtime.processor import ComponentProcessor
from dapr_sidecar.runtime.servers import Servers
from dapr_sidecar.runtime.telemetry import Telemetry
from dapr_sidecar.runtime.templates import TemplateError, ValueResolver

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity

_LOG = get_logger("dapr.runtime")
_WITHOUT_END = 3600.0


class Sidecar:
    """Every part of one running sidecar.

    Raises ``AccessControlError`` or ``TracingError`` for a Configuration that cannot be used.
    """

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
        self._outbound = Readiness(("outbound",))
        self._ask_to_stop = ask_to_stop
        self._telemetry = Telemetry(
            options, configuration, identity.invocation_namespace, environment
        )
        self._around = Surroundings(report=self._telemetry.resiliency_report())
        self._resiliencies: Sequence[Resiliency] = ()
        self._found_resiliencies: Sequence[Resiliency] = []
        self._context = SidecarContext(
            identity,
            LoadedPolicies(around=self._around),
            self._telemetry.metrics,
            self._telemetry.tracing.tracer,
            configuration=configuration.spec,
        )
        self._channel = self._context.channel = self._make_channel()
        self._blocks = BuildingBlocks(self._context, options)
        self._security = self._make_security(environment)
        among_peers = self._security if options.enable_mtls else None
        self._invocation = InvocationParts(
            self._context, options, self._telemetry.grpc, among_peers
        )
        values = ValueResolver(options.app_id, options.namespace, environment)
        self._values = values
        self._secrets = SecretResolver(self._context)
        self.processor = ComponentProcessor(self._context, values, self._blocks.preparers())
        self._metadata = MetadataBlock(
            self._context,
            self._connection(),
            self._blocks.subscriptions.listing,
            enabled_features(configuration),
            lambda: [resource.name for resource in self._resiliencies],
        )
        self._servers = Servers(options)
        self._http_api: HttpApi | None = None
        self._app = self._make_app()

    # --- parts ------------------------------------------------------------------------------

    def _make_security(self, environment: Mapping[str, str]) -> SidecarSecurity | None:
        """In a cluster there is an identity for the control plane even when peers want none."""
        options = self.options
        if not options.enable_mtls and options.mode != "kubernetes":
            return None
        from dapr_sidecar.runtime.security import SidecarSecurity  # X.509 costs memory

        return SidecarSecurity(options, environment, self._telemetry.registry)

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
                after=self._telemetry.metrics.grpc_client,
            )
        return HttpChannel(
            options.app_channel_address,
            options.app_port,
            protocol=cast(Literal["http", "https", "h2c"], options.app_protocol),
            token=options.app_token,
            max_concurrency=options.app_max_concurrency,
            max_header_bytes=options.read_buffer_bytes,
            metrics=self._telemetry.metrics,
        )

    def _make_app(self) -> AppLifecycle | None:
        options = self.options
        if self._channel is None:
            return None
        prober = None
        if options.app_health.enabled:
            checks = options.app_health
            prober = AppHealthProber(
                self._channel,
                path=checks.path,
                interval=checks.interval,
                timeout=checks.timeout,
                threshold=checks.threshold,
                metrics=self._telemetry.metrics,
            )
        return AppLifecycle(
            options.app_channel_address,
            options.app_port,
            tls=options.app_protocol in ("https", "grpcs"),
            prober=prober,
            first_time=self._meet_app,
            feeders=self._blocks.feeders(),
        )

    def _connection(self) -> AppConnection:
        options = self.options
        health = None
        if options.app_health.enabled:
            checks = options.app_health
            health = (
                checks.path if options.app_protocol not in ("grpc", "grpcs") else "",
                format_go_duration(timedelta(seconds=checks.interval)),
                format_go_duration(timedelta(seconds=checks.timeout)),
                checks.threshold,
            )
        return AppConnection(
            options.app_port,
            options.app_protocol,
            options.app_channel_address,
            options.app_max_concurrency,
            health,
        )

    # --- APIs -------------------------------------------------------------------------------

    async def start_servers(self) -> None:
        """Bind every listener; the APIs answer from here on."""
        options, identity = self.options, self._context.identity
        self._telemetry.tracing.start()
        if options.metrics_enabled:
            await self._servers.start_metrics(self._telemetry.registry)
        identity.grpc_port = await self._servers.start_grpc(self._grpc_api().server)
        self.readiness.ready("grpc-api-server")
        routes = MetadataRoutes(self._metadata, self.readiness, self._outbound, self._ask_to_stop)
        http_api = self._http_api = HttpApi(
            [*routes.all(), *self._blocks.routes()],
            self._invocation.http,
            AllowList(self.configuration.spec, "http"),
            self._telemetry.http,
            self._http_settings(),
        )
        self._set_pipelines()
        identity.http_port = await self._servers.start_http(http_api.handle)
        await self._servers.start_public(PublicApi(routes.public()).handle)
        await self._invocation.listen()
        self._servers.own(self._invocation.internal.server)
        self.readiness.ready("grpc-internal-server")
        await self._invocation.start()

    def _grpc_api(self) -> GrpcApi:
        options = self.options
        return GrpcApi(
            [
                *grpc_metadata.methods(self._metadata, self._ask_to_stop),
                *self._blocks.methods(),
                *self._invocation.methods(),
            ],
            self._invocation.proxy,
            AllowList(self.configuration.spec, "grpc"),
            self._telemetry.grpc,
            GrpcApiSettings(
                max_message_bytes=options.max_body_bytes,
                read_buffer_bytes=options.read_buffer_bytes,
                api_token=options.api_token,
                log_calls=self._http_settings().log_calls,
            ),
        )

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

    def _set_pipelines(self) -> None:
        """Build both middleware pipelines from the live components."""
        if self._http_api is not None:
            self._http_api.set_middlewares(self._pipeline("httpPipeline"))
        self._invocation.block.set_app_middlewares(self._pipeline("appHttpPipeline"))

    def _pipeline(self, section: str) -> list[Wrapper]:
        spec: Mapping[str, Any] = self.configuration.spec
        live = {name: entry.component for name, entry in self.processor.middlewares.items()}
        return wrappers(spec.get(section) or {}, live, section)

    # --- resources --------------------------------------------------------------------------

    def components_loaded(self) -> None:
        """Every component of the start was loaded."""
        self.processor.warn_parked()
        self._telemetry.metrics.component_loaded(len(self.processor.manifests))

    async def component_changed(self, manifest: Component) -> None:
        """A component was reloaded or went."""
        if manifest.category == "middleware":
            self._set_pipelines()
        await self._blocks.component_changed(manifest)

    async def swap_resources(self, resources: Resources) -> None:
        """Put the other kinds of resources in place of what was there."""
        self._swap_policies(resources.resiliencies)
        endpoints: dict[str, HttpEndpoint] = {}
        for endpoint in resources.http_endpoints:
            try:
                endpoints[endpoint.name] = await resolve_endpoint(endpoint, self._value)
            except TemplateError as error:
                _LOG.error("HTTPEndpoint %s is not used: %s", endpoint.name, error)
        self._context.components.http_endpoints = endpoints
        await self._blocks.subscriptions.set_declarative(resources.subscriptions)

    def _swap_policies(self, found: Sequence[Resiliency]) -> None:
        """Take other policies; one that cannot be read leaves the version before in use."""
        if found == self._found_resiliencies:
            return
        self._found_resiliencies = list(found)
        before = {resource.name: resource for resource in self._resiliencies}
        usable = [
            before.get(resource.name, resource) if _is_unreadable(resource) else resource
            for resource in found
        ]
        if usable != list(self._resiliencies):
            self._resiliencies = tuple(usable)
            self._context.policies = LoadedPolicies(
                self._resiliencies, self.options.app_id, around=self._around
            )

    async def _value(self, endpoint: HttpEndpoint, entry: NameValue) -> NameValue:
        async def lookup(name: str, key: str) -> str | None:
            return await self._secrets.lookup(endpoint.secret_store, name, key, endpoint.namespace)

        found = await self._values.resolve((entry,), lookup if endpoint.secret_store else None)
        return dataclasses.replace(entry, value=found.get(entry.name.lower()))

    # --- life -------------------------------------------------------------------------------

    async def get_identity(self) -> None:
        """Get the identity that peers and the control plane will see. Raises ``IdentityError``."""
        if self._security is not None:
            await self._security.source.fetch_initial()

    async def run(self, tasks: asyncio.TaskGroup, announce: Callable[[], None]) -> None:
        """Begin to follow the app; ``announce`` is called once the sidecar counts as running."""

        def initialised() -> None:
            self.readiness.ready("runtime")
            announce()

        if self._security is not None:
            tasks.create_task(self._security.source.run(), name="identity")
        await self._blocks.outbox.start()
        self._outbound.ready("outbound")
        if self._app is None:
            initialised()
        else:
            tasks.create_task(self._app.run(initialised), name="app-lifecycle")

    async def _meet_app(self) -> None:
        """What is asked of the app once, when it is first healthy."""
        if isinstance(self._channel, HttpChannel) and not self.options.disable_init_config:
            await read_app_config(self._channel, self.options.app_id)

    async def stop_feeding(self) -> None:
        """Stop deliveries for good; the APIs go on."""
        await self._blocks.drain()
        if self._app is not None:
            await self._app.stop_feeding()

    async def wait_app_unhealthy(self) -> None:
        """Return once the app takes nothing more."""
        if self._app is None:
            await asyncio.Event().wait()
        else:
            await self._app.wait_unhealthy()

    async def stop(self, grace: float | None) -> None:
        """Drain and close everything, outside in; ``grace`` in seconds, ``None`` without end.

        Deliveries end first: what they run may still call the APIs.
        """
        self.readiness.unready("runtime")
        await _finish("deliveries", self.stop_feeding())
        await _finish("name resolution", self._invocation.withdraw())
        self._servers.stop_listening()
        await _finish("servers", self._servers.close(grace if grace is not None else _WITHOUT_END))
        await _finish("service invocation", self._invocation.close())
        await _finish("components", self.processor.close())
        if self._channel is not None:
            await _finish("app channel", self._channel.close())
        await _finish("tracing", self._telemetry.tracing.close())
        _LOG.info("Dapr runtime stopped")


async def _finish(what: str, step: Awaitable[None]) -> None:
    """One step of the stop; its failure must not keep the others from being taken."""
    try:
        await step
    except Exception:  # noqa: BLE001 - the whole of a part is called
        _LOG.exception("%s did not stop cleanly", what)


def _is_unreadable(resource: Resiliency) -> bool:
    try:
        read_spec(resource)
    except SpecError as error:
        _LOG.error("Could not load resiliency policy %s: %s", resource.name, error)
        return True
    return False
