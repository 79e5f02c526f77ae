"""The runtime's part of actors with a stand-in app; placement says what a test says."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.block_api import loaded, make, make_context

from dapr_common.kube import resources
from dapr_common.wire.dapr.proto.placement.v1 import placement_pb2 as pb
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, TypeSettings
from dapr_sidecar.blocks.invocation.block import InvocationBlock
from dapr_sidecar.components.state.memory import InMemoryStateStore
from dapr_sidecar.options import Options, read
from dapr_sidecar.runtime.actors import ActorParts
from dapr_sidecar.runtime.scheduler import SchedulerParts

OWN = "10.0.0.1:1"
ACTOR = ActorRef("T", "1")


class StandInApp:
    def __init__(self) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0
        self.gone: list[str] = []

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.set()
        try:
            await self.go_on.wait()
        finally:
            self.running -= 1
        return ActorAnswer(200, (), "", b"")

    async def fire(self, callback: Any) -> bool:
        return False

    async def deactivate(self, ref: ActorRef) -> None:
        self.gone.append(ref.id)


class Listener:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def leaving(self, types: frozenset[str]) -> None:
        self.told.append("leaving")

    def settled(self, types: frozenset[str]) -> None:
        self.told.append("settled")


class World:
    """A sidecar's actors; placement says what a test says."""

    def __init__(self) -> None:
        options = read(["--app-id=a", "--placement-host-address=127.0.0.1:1"], {})
        assert isinstance(options, Options)
        self.context = context = make_context()
        context.components.state["st"] = self.store("st", actorStateStore="true")
        invocation = InvocationBlock(context, security=None, max_message_bytes=1 << 20)
        self.parts = ActorParts(
            context, options, invocation, None, SchedulerParts(context, options, None)
        )
        self.app, self.listener = StandInApp(), Listener()
        self.parts.view.named(OWN)
        self.parts.view.listen(self.listener)
        self.parts._started = True

    def store(self, name: str, **properties: str) -> Any:
        found = loaded(name, make(InMemoryStateStore), **properties)
        found.manifest = resources.Component(name, "state.in-memory")
        return found

    async def begin(self, **settings: Any) -> None:
        view = self.parts.view
        await self.parts.component_changed(self.context.components.state["st"].manifest)
        self.parts.hosting.register(self.app, {"T": TypeSettings(**settings)})
        await self.parts.hosted.settle()
        view.connect(view._clock, 3.0)
        view.lock(1)
        message = pb.PlacementTables(replication_factor=100)
        message.entries["T"].load_map[OWN].name = OWN
        await view.leaving(view.update(message, 1))
        view.drained()
        view.settled(view.unlock(1) or frozenset())
        view.answered()
        self.listener.told.clear()
