"""What actors keep and what wakes them: state, timers, reminders; made and run together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dapr_common.grpc.server import Method
from dapr_sidecar.api.http.routing import Route
from dapr_sidecar.blocks.actors.base import ActiveActors, ActorRouter, Ownership, SettingsOf
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.options import Options


@dataclass(frozen=True, slots=True)
class ActorSurroundings:
    """What these parts are made from. ``active`` and ``ownership`` live as long as the sidecar."""

    context: SidecarContext
    options: Options
    router: ActorRouter
    ownership: Ownership
    active: ActiveActors
    settings: SettingsOf


class ActorStateParts:
    """State, timers and reminders of one sidecar.

    Routes and methods are asked for only while placement is configured; a sidecar without it
    answers all of them with ``ERR_ACTOR_NO_PLACEMENT``.
    """

    def __init__(self, around: ActorSurroundings) -> None:
        self._around = around

    def routes(self) -> list[Route]:
        """The HTTP API's routes."""
        return []

    def methods(self) -> list[Method]:
        """The gRPC API's methods."""
        return []

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin what runs until the sidecar stops."""

    async def store_changed(self) -> None:
        """The actor state store came, was replaced or went."""

    async def close(self) -> None:
        """Fire nothing more; return once nothing runs."""
