"""The scheduler's parts, put together: instances, streams, jobs, and reminders where they are."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from dapr_common.grpc.server import Method
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from dapr_sidecar.api.grpc import jobs as grpc_jobs
from dapr_sidecar.api.http import jobs as http_jobs
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors.base import Ownership
from dapr_sidecar.blocks.scheduler.jobs import Jobs
from dapr_sidecar.blocks.scheduler.reminders import SchedulerReminders
from dapr_sidecar.blocks.scheduler.streams import JobStreams
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.scheduler import SchedulerHosts
from dapr_sidecar.options import Options

if TYPE_CHECKING:
    from dapr_sidecar.runtime.security import SidecarSecurity


class SchedulerParts:
    """Implements ``Feeder``: jobs are taken while the app is healthy.

    Without a scheduler the Jobs API says so, and reminders are in the actor state store.
    """

    def __init__(
        self, context: SidecarContext, options: Options, security: SidecarSecurity | None
    ) -> None:
        addresses = [address for address in options.scheduler_addresses if address.strip()]
        self.hosts = SchedulerHosts(addresses, security) if addresses else None
        self.jobs = Jobs(context, self.hosts)
        self._reminders: SchedulerReminders | None = None
        self._ownership: Ownership | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._streams = (
            None
            if self.hosts is None
            else JobStreams(context.identity, self.hosts, self._fire, options.scheduler_streams)
        )

    @property
    def enabled(self) -> bool:
        """Whether a scheduler is configured."""
        return self.hosts is not None

    def routes(self) -> list[Route]:
        """The HTTP API's routes."""
        return http_jobs.routes(self.jobs)

    def methods(self) -> list[Method]:
        """The gRPC API's methods."""
        return grpc_jobs.methods(self.jobs)

    def addresses(self) -> list[str]:
        """The instances, for the metadata API."""
        return [] if self.hosts is None else self.hosts.addresses

    def take_reminders(self, reminders: SchedulerReminders, ownership: Ownership) -> None:
        """Run reminders of the types hosted here, as placement settles."""
        self._reminders, self._ownership = reminders, ownership
        ownership.listen(self)

    # --- life -------------------------------------------------------------------------------

    def run(self, connected: Callable[[], None]) -> None:
        """Begin to follow the instances; ``connected`` is called once they are known."""
        if self.hosts is None or self._streams is None:
            return
        self.hosts.connected = connected
        self._tasks = [
            asyncio.create_task(self.hosts.run(), name="scheduler-hosts"),
            asyncio.create_task(self._streams.run(), name="scheduler-streams"),
        ]

    async def start(self) -> None:
        """The app is healthy."""
        self._want(jobs=True)

    async def stop(self) -> None:
        """The app takes nothing."""
        self._want(jobs=False)

    async def close(self) -> None:
        """Take nothing more."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task])

    # --- OwnershipListener ------------------------------------------------------------------

    async def leaving(self, types: frozenset[str]) -> None:
        """Nothing to do: what is due meanwhile waits in the router."""

    def settled(self, types: frozenset[str]) -> None:
        """Tell schedulers which types are hosted here now."""
        self._want()

    def _want(self, jobs: bool | None = None) -> None:
        if self._streams is not None:
            wanted = self._streams.wanted
            types = () if self._ownership is None else tuple(sorted(self._ownership.hosted))
            wanted = dataclasses.replace(wanted, actor_types=types)
            if jobs is not None:
                wanted = dataclasses.replace(wanted, jobs=jobs)
            self._streams.want(wanted)

    async def _fire(self, due: pb.WatchJobsResponse) -> bool:
        if due.metadata.target.WhichOneof("type") != "actor":
            return await self.jobs.fire(due)
        return self._reminders is not None and await self._reminders.fire(due)
