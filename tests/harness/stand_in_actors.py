"""Stand-ins for the parts of the actor runtime around state, timers and reminders.

Several "sidecars" of one app share an ``Assignment``, which plays placement; what is fired is
recorded. Everything else (stores, editors, schedules, routes) is the real thing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from harness.block_api import HttpApi, grpc_api, make_context

from dapr_common.errors import DaprError
from dapr_sidecar.api.grpc import actor_state as grpc_actor_state
from dapr_sidecar.api.http import actor_state as http_actor_state
from dapr_sidecar.blocks.actors.base import (
    ActorAnswer,
    ActorCall,
    ActorRef,
    Callback,
    Owner,
    OwnershipListener,
    TypeSettings,
)
from dapr_sidecar.blocks.actors.reminder_owner import ReminderOwner
from dapr_sidecar.blocks.actors.reminder_store import StoredReminders
from dapr_sidecar.blocks.actors.reminders import Reminders
from dapr_sidecar.blocks.actors.state import ActorState
from dapr_sidecar.blocks.actors.stored import ActorStore
from dapr_sidecar.blocks.actors.timers import Timers
from dapr_sidecar.context import SidecarContext


class Assignment:
    """Which sidecar has which actor; ``rule`` gives the sidecar's name."""

    def __init__(self, rule: Callable[[ActorRef], str]) -> None:
        self.rule = rule


class StandInOwnership:
    """Placement as one sidecar sees it."""

    def __init__(self, name: str, assignment: Assignment, hosted: Sequence[str]) -> None:
        self.name = name
        self.hosted = frozenset(hosted)
        self.moving = False
        self.lost = False
        self._assignment = assignment
        self._listeners: list[OwnershipListener] = []
        self._settled = asyncio.Event()
        self._settled.set()

    def owner(self, ref: ActorRef) -> Owner | None:
        if ref.type not in self.hosted:
            return None
        name = self._assignment.rule(ref)
        return Owner(name, "app1", name == self.name)

    def is_mine(self, ref: ActorRef) -> bool:
        return not self.moving and self.holds(ref)

    def holds(self, ref: ActorRef) -> bool:
        owner = self.owner(ref)
        return owner is not None and owner.local and not self.lost

    async def wait_settled(self, actor_type: str) -> None:
        await self._settled.wait()

    def listen(self, listener: OwnershipListener) -> None:
        self._listeners.append(listener)

    async def leave(self) -> None:
        """All types begin to move."""
        self.moving = True
        self._settled.clear()
        await asyncio.gather(*(one.leaving(self.hosted) for one in self._listeners))

    def settle(self) -> None:
        """The assignment that is in force now is the one that holds."""
        self.moving = False
        self._settled.set()
        for one in self._listeners:
            one.settled(self.hosted)


class RecordingRouter:
    """Takes what is fired. ``answer`` may be replaced: it returns whether to cancel, or raises."""

    def __init__(self) -> None:
        self.fired: list[tuple[float, Callback]] = []
        self.changed = asyncio.Condition()
        self.answer: Callable[[Callback], Any] = lambda _: False

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        raise AssertionError("nobody invokes here")

    async def fire(self, callback: Callback) -> bool:
        async with self.changed:
            self.fired.append((time.time(), callback))
            self.changed.notify_all()
        answer = self.answer(callback)
        return bool(await answer if asyncio.iscoroutine(answer) else answer)

    async def wait(self, count: int) -> list[Callback]:
        """The first so many callbacks."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.fired) >= count)
        return [callback for _, callback in self.fired[:count]]

    @property
    def names(self) -> list[str]:
        return [callback.name for _, callback in self.fired]


class AllActive:
    """Every actor is active, but those in ``missing``."""

    def __init__(self) -> None:
        self.missing: set[ActorRef] = set()

    def is_active(self, ref: ActorRef) -> bool:
        return ref not in self.missing


class StandInNotices:
    """Hands notices to the other sidecars of the test; ``lost`` ones are forgotten."""

    def __init__(self, sidecars: dict[str, ActorSide]) -> None:
        self._sidecars = sidecars
        self.sent: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.lost = False

    async def changed(self, owner: Owner, actor_type: str, keys: Sequence[tuple[str, str]]) -> None:
        self.sent.append((owner.address, actor_type, list(keys)))
        if not self.lost:
            self._sidecars[owner.address].owner.changed(actor_type, keys)


class ActorSide:
    """State, timers and reminders of one sidecar over real stores."""

    def __init__(
        self,
        name: str,
        assignment: Assignment,
        loaded: Any,
        sidecars: dict[str, ActorSide],
        *,
        hosted: Sequence[str] = ("T",),
        settings: TypeSettings | None = None,
        configuration: dict[str, object] | None = None,
        look_seconds: float = 1000.0,
    ) -> None:
        self.context: SidecarContext = make_context(configuration)
        self.context.components.state["st"] = loaded
        self.ownership = StandInOwnership(name, assignment, hosted)
        self.router = RecordingRouter()
        self.active = AllActive()
        self.notices = StandInNotices(sidecars)
        self.settings = settings or TypeSettings(drain_timeout=0.5)
        self.store = ActorStore(self.context)
        self.state = ActorState(self.context, self.store, self.ownership, self.active)
        self.timers = Timers(self.context, self.router, self.ownership)
        self.owner = ReminderOwner(
            self.context,
            self.store,
            self.router,
            self.ownership,
            lambda _: self.settings,
            self.notices,
            look_seconds=look_seconds,
        )
        self.reminders = Reminders(StoredReminders(self.store, self.owner), self.ownership)
        self.ownership.listen(self.owner)
        self.ownership.listen(self.state)
        self._look = asyncio.create_task(self.owner.look())
        self.http = HttpApi(http_actor_state.routes(self.state, self.timers, self.reminders))
        sidecars[name] = self

    def grpc(self) -> Any:
        """A client of a gRPC server with the methods."""
        return grpc_api(grpc_actor_state.methods(self.state, self.timers, self.reminders))

    async def load(self) -> None:
        """Settle, and wait until the reminders are read."""
        self.ownership.settle()
        await self.loaded()

    async def loaded(self) -> None:
        """Wait until the reminders are read."""
        while loads := list(self.owner._loads.values()):
            await asyncio.wait(loads)

    async def close(self) -> None:
        """As a sidecar stops."""
        self._look.cancel()
        await asyncio.gather(self.timers.close(), self.owner.close())

    async def crash(self) -> None:
        """As a sidecar that is killed: nothing that waits is stored."""
        for held in self.owner._types.values():
            held.editor._later.clear()
        await self.close()

    @property
    def count(self) -> int:
        """How many reminders of type T are scheduled here."""
        return self.owner.of("T").count


class AppFailedError(DaprError):
    """What a router raises when the app fails."""

    def __init__(self) -> None:
        super().__init__("ERR_ACTOR_INVOKE_METHOD", "error from actor service: (500) ")
