"""What one sidecar is made of, how the parts are wired, and in which order they start and stop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dapr_common.kube.resources import (
    Component,
    Configuration,
    HttpEndpoint,
    NameValue,
    Subscription,
)
from dapr_common.observe.health import Readiness
from dapr_common.observe.logs import get_logger, set_level
from dapr_sidecar.api.grpc import metadata as grpc_metadata
from dapr_sidecar.api.http.metadata import MetadataRoutes
from dapr_sidecar.blocks.metadata import MetadataBlock
from dapr_sidecar.blocks.secrets import SecretResolver
from dapr_sidecar.channel.http import HttpChannel
from dapr_sidecar.components.finding import ComponentFinder
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.resiliency.runner import Surroundings
from dapr_sidecar.runtime import app_side
from dapr_sidecar.runtime.actors import ActorParts
from dapr_sidecar.runtime.apis import Apis
from dapr_sidecar.runtime.app_config import read_app_config
from dapr_sidecar.runtime.building_blocks import BuildingBlocks
from dapr_sidecar.runtime.component_set import ComponentSet
from dapr_sidecar.runtime.configuration import checked, enabled_features
from dapr_sidecar.runtime.endpoints import EndpointSet
from dapr_sidecar.runtime.invocation import InvocationParts
from dapr_sidecar.runtime.live_telemetry import LiveTelemetry
from dapr_sidecar.runtime.newest import Newest
from dapr_sidecar.runtime.policies import PolicySet
from dapr_sidecar.runtime.processor import ComponentProcessor
from dapr_sidecar.runtime.readiness import SidecarReadiness
from dapr_sidecar.runtime.resources import Resources, SourceError
from dapr_sidecar.runtime.scheduler import SchedulerParts
from dapr_sidecar.runtime.servers import Servers
from dapr_sidecar.runtime.statuses import StatusBook
from dapr_sidecar.runtime.subscription_statuses import take_down
from dapr_sidecar.runtime.telemetry import Telemetry
from dapr_sidecar.runtime.templates import ValueResolver

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity

_LOG = get_logger("dapr.runtime")
_WITHOUT_END = 3600.0
_PLACEMENT = "internal-placement-service"
_SCHEDULER = "scheduler-watch-hosts"
_KUBERNETES_STORE = "kubernetes"


class Sidecar:
    """Every part of one running sidecar.

    Raises ``ConfigurationError``, ``AccessControlError``, ``MetricsError`` or ``TracingError`` for
    a Configuration that cannot be used.
    """

    def __init__(
        self,
        options: Options,
        identity: SidecarIdentity,
        configuration: Configuration,
        environment: Mapping[str, str],
        ask_to_stop: Callable[[bool], None],
        security: SidecarSecurity | None = None,
    ) -> None:
        self.options = options
        self.configuration = checked(configuration)
        self._set_log_level()
        self.readiness = SidecarReadiness(("runtime", "grpc-api-server", "grpc-internal-server"))
        self.statuses = StatusBook()
        self._environment = environment
        self._outbound = Readiness(("outbound",))
        self._subscriptions: Sequence[Subscription] = ()
        telemetry = self._telemetry = LiveTelemetry(
            Telemetry(options, self.configuration, identity.invocation_namespace, environment)
        )
        if security is not None:
            security.events.attach(telemetry)
        around = Surroundings(report=telemetry.resiliency)
        self._context = SidecarContext(
            identity,
            LoadedPolicies(around=around),
            telemetry.metrics,  # parts that keep it for good take it while the others are made
            telemetry.now.tracing.tracer,
            configuration=self.configuration.spec,
        )
        self._channel = self._context.channel = app_side.make_channel(options, telemetry.metrics)
        self._blocks = BuildingBlocks(self._context, options)
        among_peers = security if options.enable_mtls else None
        self._invocation = InvocationParts(self._context, options, telemetry.now.grpc, among_peers)
        self._scheduler = self._blocks.scheduler = SchedulerParts(
            self._context, options, among_peers
        )
        self._actors = self._blocks.actors = ActorParts(
            self._context, options, self._invocation.block, among_peers, self._scheduler
        )
        self._invocation.serve_internally(self._actors.internal_methods())
        if self._actors.enabled:
            self.readiness.unready(_PLACEMENT)
            self._actors.connected = partial(self.readiness.ready, _PLACEMENT)
        if self._scheduler.enabled:
            self.readiness.unready(_SCHEDULER)
        self._context.metrics = telemetry.now.metrics
        self._secrets = SecretResolver(self._context)
        self._values = ValueResolver(options.app_id, options.namespace, environment)
        self._default_store = _KUBERNETES_STORE if options.mode == "kubernetes" else ""
        self.processor = ComponentProcessor(
            self._context,
            self._values,
            self._blocks.preparers(),
            default_secret_store=self._default_store,
            finder=ComponentFinder(
                sockets=options.component_sockets,
                wait_for_sockets=options.wait_for_sockets,
                python_folders=options.python_folders,
            ),
        )
        self.component_set = ComponentSet(self.processor, self.statuses, self._component_changed)
        self.component_set.on_missing = self.readiness.missing_components
        self._policies = PolicySet(self._context, around, self.statuses)
        self._endpoints = EndpointSet(self._context, self._value, self.statuses)
        self._endpoint_changes = Newest("HTTP endpoints", self._endpoints.take)
        self._subscription_changes = Newest("subscriptions", self._subscribe)
        self._metadata = MetadataBlock(
            self._context,
            app_side.describe_connection(options),
            self._blocks.subscriptions.listing,
            enabled_features(self.configuration),
            self._policies.names,
            self._actors.status,
            self._scheduler.addresses,
        )
        self._metadata.health.not_live = self.statuses.components_not_loaded
        self._servers = Servers(options)
        self._apis = Apis(
            options,
            self._context,
            self._blocks,
            self._invocation,
            self.processor.middlewares,
            MetadataRoutes(self._metadata, self.readiness, self._outbound, ask_to_stop),
            grpc_metadata.methods(self._metadata, ask_to_stop),
        )
        self._app = app_side.make_lifecycle(
            options, self._channel, telemetry.metrics, self._meet_app, self._blocks.feeders()
        )

    # --- start ------------------------------------------------------------------------------

    async def load(self, resources: Resources, *, strict: bool) -> None:
        """Bring up what the sidecar starts with.

        Raises ``InitError`` or ``SourceError`` when ``strict``.
        """
        self.statuses.seen(resources)
        if strict and resources.unreadable:
            raise SourceError("; ".join(resources.unreadable.values()))
        _LOG.info("Loading components…")
        await self.component_set.load(resources.components, resources.unreadable, strict=strict)
        self._context.metrics.component_loaded(len(self.processor.manifests))
        if self.configuration.name:
            self.statuses.set("Configuration", self.configuration.name, "loaded")
        self._policies.take(resources.resiliencies)
        await self._endpoints.take(resources.http_endpoints)
        await self._subscribe(resources.subscriptions)

    async def start_servers(self) -> None:
        """Bind every listener; the APIs answer from here on."""
        telemetry = self._telemetry
        telemetry.now.tracing.start()
        if self.options.metrics_enabled:
            await self._servers.start_metrics(telemetry.registry)
        await self._apis.start_grpc(self._servers, telemetry.now)
        self.readiness.ready("grpc-api-server")
        await self._apis.start_http(self._servers, telemetry.now)
        await self._invocation.listen()
        self._servers.own(self._invocation.internal.server)
        self.readiness.ready("grpc-internal-server")
        await self._invocation.start()

    async def run(self, tasks: asyncio.TaskGroup, announce: Callable[[], None]) -> None:
        """Begin to follow the app; ``announce`` is called once the sidecar counts as running."""

        def initialised() -> None:
            self.readiness.ready("runtime")
            announce()

        tasks.create_task(self._metadata.health.run(), name="component health")
        await self._blocks.outbox.start()
        await self._actors.run(tasks)
        self._scheduler.run(partial(self.readiness.ready, _SCHEDULER))
        self._outbound.ready("outbound")
        if self._app is None:
            initialised()
        else:
            tasks.create_task(self._app.run(initialised), name="app-lifecycle")

    async def _meet_app(self) -> None:
        """What is asked of the app once, when it is first healthy."""
        if isinstance(self._channel, HttpChannel) and not self.options.disable_init_config:
            self._actors.meet_app(await read_app_config(self._channel, self.options.app_id))

    # --- changes ----------------------------------------------------------------------------

    async def _component_changed(self, manifest: Component) -> None:
        """A component was reloaded or went."""
        if manifest.category == "middleware":
            self._apis.set_pipelines()
        elif manifest.category == "secretstores":
            await self._endpoints.resolve_again()
        await self._blocks.component_changed(manifest)
        self._note_subscriptions()

    def swap_resources(self, resources: Resources) -> None:
        """Put the kinds that are no components in place of what was there; slow ones by and by."""
        self._policies.take(resources.resiliencies)
        self._endpoint_changes.put(resources.http_endpoints)
        self._subscription_changes.put(resources.subscriptions)

    async def _subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = subscriptions
        await self._blocks.subscriptions.set_declarative(subscriptions)
        self._note_subscriptions()

    def _note_subscriptions(self) -> None:
        take_down(self._subscriptions, self._context.components.pubsub, self.statuses)

    async def apply_configuration(self, configuration: Configuration) -> None:
        """Use another Configuration; calls under way end as they began, connections stay.

        Raises what the constructor raises, and then everything stays as it was.
        """
        taken = checked(configuration)
        context, namespace = self._context, self._context.identity.invocation_namespace
        telemetry = Telemetry(
            self.options, taken, namespace, self._environment, self._telemetry.now
        )
        entrances = self._invocation.prepare(taken.spec, telemetry.grpc, telemetry.metrics)
        self.configuration = taken
        self._set_log_level()
        self._telemetry.swap(telemetry)
        context.metrics, context.tracer = telemetry.metrics, telemetry.tracing.tracer
        context.configuration = taken.spec
        self._metadata.features = enabled_features(taken)
        self._invocation.apply(entrances)
        self._apis.apply(self._servers, telemetry)
        await self._invocation.change_naming()

    def _set_log_level(self) -> None:
        set_level(self.configuration.log_level or self.options.log_level)

    async def _value(self, endpoint: HttpEndpoint, entry: NameValue) -> NameValue:
        store = endpoint.secret_store or self._default_store

        async def lookup(name: str, key: str) -> str | None:
            return await self._secrets.lookup(store, name, key, endpoint.namespace)

        found = await self._values.resolve((entry,), lookup if store else None)
        return dataclasses.replace(entry, value=found.get(entry.name.lower()))

    # --- stop -------------------------------------------------------------------------------

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
        for changes in (self._endpoint_changes, self._subscription_changes):
            await _finish("changes", changes.close())
        await _finish("deliveries", self.stop_feeding())
        await _finish("actors", self._actors.close())
        await _finish("scheduler", self._scheduler.close())
        await _finish("name resolution", self._invocation.withdraw())
        self._servers.stop_listening()
        await _finish("servers", self._servers.close(grace if grace is not None else _WITHOUT_END))
        await _finish("service invocation", self._invocation.close())
        await _finish("components", self.processor.close())
        if self._channel is not None:
            await _finish("app channel", self._channel.close())
        await _finish("tracing", self._telemetry.close())
        _LOG.info("Dapr runtime stopped")


async def _finish(what: str, step: Awaitable[None]) -> None:
    """One step of the stop; its failure must not keep the others from being taken."""
    try:
        await step
    except Exception:  # noqa: BLE001 - the whole of a part is called
        _LOG.exception("%s did not stop cleanly", what)
