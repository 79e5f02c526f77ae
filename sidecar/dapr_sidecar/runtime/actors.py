"""The actor runtime's parts, put together: ownership, host, router, APIs, placement stream."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from dapr_common.aio.host import join_host_port
from dapr_common.aio.run import FatalError
from dapr_common.grpc.server import Context, Method
from dapr_common.http.messages import Request, Response
from dapr_common.kube.resources import Component
from dapr_common.observe.logs import get_logger
from dapr_sidecar.api.grpc import actors as grpc_actors
from dapr_sidecar.api.grpc import internal_actors
from dapr_sidecar.api.http import actors as http_actors
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors import errors
from dapr_sidecar.blocks.actors.app_http import HttpActorApp
from dapr_sidecar.blocks.actors.block import ActorBlock
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.instances.host import ActorHost
from dapr_sidecar.blocks.actors.names import is_foreign
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement import PlacementClient
from dapr_sidecar.blocks.actors.placement_addresses import Addresses, PlacementSettings
from dapr_sidecar.blocks.actors.remote import RemoteActors
from dapr_sidecar.blocks.actors.router import Router
from dapr_sidecar.blocks.actors.settings import HostingError, read_config, read_initial
from dapr_sidecar.blocks.actors.store import actor_store
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.blocks.metadata import ActorStatus
from dapr_sidecar.components.state.base import StateStore
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.loaded import Loaded
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.actor_state import ActorStateParts, ActorSurroundings
from dapr_sidecar.runtime.actor_stop import StopTimes, ended
from dapr_sidecar.runtime.hosted_types import HostedTypes
from dapr_sidecar.runtime.scheduler import SchedulerParts

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity

_LOG = get_logger("dapr.runtime.actors")
_LOOPBACKS = ("127.0.0.1", "localhost", "::1", "[::1]")


class ActorParts:
    """Implements ``Feeder``: types are hosted while the app is healthy."""

    def __init__(
        self,
        context: SidecarContext,
        options: Options,
        invocation: InvocationBlock,
        security: SidecarSecurity | None,
        scheduler: SchedulerParts,
    ) -> None:
        self._context = context
        self._options = options
        self._invocation = invocation
        self._security = security
        self._closed = False
        self._started = False
        self._scheduled = scheduler.enabled
        self._times = StopTimes.of(options.graceful_shutdown)
        self._client: PlacementClient | None = None
        self._running: asyncio.Task[None] | None = None
        self._store: Loaded[StateStore] | None = None
        self.enabled = bool(options.placement_addresses)
        self.view = PlacementView(options.disseminate_timeout)
        self.hosted = HostedTypes(self.view, self._report)
        identity = context.identity
        self.hosting = Hosting(
            partial(is_foreign, namespace=identity.invocation_namespace, app_id=identity.app_id)
        )
        self.hosting.changed = self.hosted.changed
        self.host = ActorHost(context, self.hosting, self.view)
        self.view.listen(self.host.deactivation)
        remote = RemoteActors(context, invocation.peers, self.view.hosts)
        self.view.listen(remote)
        self.router = Router(context, self.view, self.host, remote)
        self.block = ActorBlock(context, self.router, lambda: self._closed)
        self.state = ActorStateParts(
            ActorSurroundings(
                context,
                options,
                self.router,
                self.view,
                self.host,
                self.hosting.known_settings,  # those that leave are drained as they were hosted
                invocation.peers,
                scheduler,
            )
        )
        self.connected: Callable[[], None] = lambda: None
        """Called once placement was reached."""

    # --- what is served ---------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """The HTTP API's routes; without placement each of them says so."""
        routes = [*http_actors.routes(self.block), *self.state.routes()]
        if self.enabled:
            return routes
        return [dataclasses.replace(route, handler=_refuse_http) for route in routes]

    def methods(self) -> list[Method]:
        """The gRPC API's methods; the same."""
        limit = self._options.disseminate_timeout
        channel = self._context.channel
        methods = [
            *grpc_actors.methods(self.block),
            *self.state.methods(),
            *grpc_actors.hosting_methods(
                self.hosting,
                partial(read_initial, round_limit=limit),
                http_app=channel is not None and channel.kind == "http",
            ),
        ]
        return methods if self.enabled else list(map(_refusing, methods))

    def internal_methods(self) -> list[Method]:
        """What other sidecars may call."""
        methods = [*internal_actors.methods(self.block), *self.state.internal_methods()]
        return methods if self.enabled else list(map(_refusing, methods))

    def status(self) -> ActorStatus:
        """For the metadata API."""
        if not self.enabled:
            return ActorStatus()
        view = self.view
        return ActorStatus(
            "RUNNING" if self._started else "INITIALIZING",
            view.ready,
            "placement: connected" if view.connected else "placement: disconnected",
            self.host.counts(),
        )

    # --- life -------------------------------------------------------------------------------

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to follow placement, once this sidecar can be reached by others.

        Raises ``FatalError``.
        """
        if not self.enabled:
            return
        in_cluster = self._options.mode == "kubernetes" and self._security is not None
        if in_cluster and not self._context.identity.invocation_namespace:
            raise FatalError(errors.namespace_required().message)
        self._started = True
        self._store = actor_store(self._context.components)
        self.hosting.set_store(self._store is not None)
        settings = PlacementSettings(
            name=self._name(),
            addresses=self._options.placement_addresses,
            resolve=self._options.mode == "kubernetes",
        )
        self._client = PlacementClient(
            self._context,
            self.view,
            settings,
            Addresses(settings).next,
            self._security,
            connected=self.connected,
        )
        # It outlives the group's tasks: actors are let go in order while the sidecar stops.
        self._running = asyncio.create_task(self._client.run(), name="placement")
        tasks.create_task(_outcome(self._running), name="placement-outcome")
        await self.state.start(tasks)

    def meet_app(self, config: Mapping[str, Any]) -> None:
        """The app was asked for its ``/dapr/config``."""
        try:
            settings = read_config(
                config,
                self._options.disseminate_timeout,
                stored_reminders=not self._scheduled,
            )
        except HostingError as error:
            _LOG.error("the app's actors are not hosted, its /dapr/config is wrong: %s", error)
            return
        if not settings or not self.enabled:
            return
        if actor_store(self._context.components) is None:
            _LOG.warning(
                "the app's actors are not hosted: no state store has actorStateStore set to true"
            )
        identity, invocation = self._context.identity, self._invocation
        app = HttpActorApp(invocation.app, identity.app_id, invocation.most_kept)
        self.hosting.register(app, settings)

    async def start(self) -> None:
        """The app is healthy."""
        self.hosting.set_healthy(True)

    async def stop(self) -> None:
        """The app is not healthy, or nothing is to be delivered any more."""
        self.hosting.set_healthy(False)
        await self.hosted.settle(self._times.leave)

    async def component_changed(self, manifest: Component) -> None:
        """A component came, changed or went."""
        if manifest.category != "state" or not self._started:
            return
        store = actor_store(self._context.components)
        if store is self._store:
            return  # another state store than the actors'
        self._store = store
        self.hosting.set_store(store is not None)
        await self.hosted.settle()
        await self.state.store_changed()

    async def close(self) -> None:
        """Let go of all actors, then of placement, and of whatever has not left by then."""
        self.hosting.close()
        await self.hosted.settle(self._times.close / 4)
        self._closed = True
        await self.state.close(self._times.close / 4)
        # While placement still waits for this sidecar, so that nobody else has the actors:
        await self.hosted.close()
        self.state.cut_writes()
        await self.host.deactivation.close(self._times.close / 4)
        if self._running is not None:
            await ended(self._running, self._times.close / 4)
        self.hosting.ended.set()

    # --- inside -----------------------------------------------------------------------------

    def _name(self) -> str:
        """Under which address placement's tables have this sidecar."""
        listen, identity = self._options.internal_listen_address, self._context.identity
        host = listen.strip("[]") if listen in _LOOPBACKS else identity.host_address
        return join_host_port(host, identity.internal_port)

    def _report(self) -> None:
        if self._client is not None:
            self._client.report()


async def _outcome(running: asyncio.Task[None]) -> None:
    """Raises what it ends with."""
    await asyncio.shield(running)


async def _refuse_http(_request: Request, *_params: str) -> Response:
    raise errors.no_placement()


def _refusing(method: Method) -> Method:
    async def refuse(_request: object, _context: Context) -> None:
        raise errors.no_placement()

    return dataclasses.replace(method, handler=refuse)
