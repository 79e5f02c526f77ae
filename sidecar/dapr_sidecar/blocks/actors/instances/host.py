"""The actors that live here: activated by their first call, one turn at a time each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from dapr_sidecar.blocks.actors import errors
from dapr_sidecar.blocks.actors.base import (
    ActorAnswer,
    ActorApp,
    ActorCall,
    ActorRef,
    Callback,
    TypeSettings,
)
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.instances.deactivation import Deactivation
from dapr_sidecar.blocks.actors.instances.instance import Instance, TypeInstances
from dapr_sidecar.blocks.actors.instances.trace import traced
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.turns import ActorClosedError, StackDepthError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import PolicyTimeoutError

T = TypeVar("T")
_ENOUGH = 1 << 30


class ActorHost:
    """Implements ``ActiveActors`` and runs turns."""

    def __init__(self, context: SidecarContext, hosting: Hosting, view: PlacementView) -> None:
        self._context = context
        self._hosting = hosting
        self._view = view
        self._types: dict[str, TypeInstances] = {}
        self.deactivation = Deactivation(context, hosting, view, self._types)

    # --- what is asked ----------------------------------------------------------------------

    def is_active(self, ref: ActorRef) -> bool:
        """Whether the actor lives here; true until its deactivation is over."""
        kind = self._types.get(ref.type)
        return kind is not None and (ref.id in kind.instances or ref.id in kind.leaving)

    def is_known(self, ref: ActorRef) -> bool:
        """Whether the actor was called here since the tables of its type last changed.

        Then nobody else need be asked for; whether its turn may begin is looked at all the same.
        """
        kind = self._types.get(ref.type)
        instance = None if kind is None else kind.instances.get(ref.id)
        if instance is None or instance.table is None:
            return False
        return instance.table is self._view.tables.get(ref.type)

    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many actors of each hosted type are active."""
        return tuple(
            (name, len(kind.instances) if (kind := self._types.get(name)) is not None else 0)
            for name in sorted(self._hosting.types)
        )

    def reenters(self, ref: ActorRef, caller: str | None) -> bool:
        """Whether a call comes from the turn that runs, and so must not wait for anything."""
        if caller is None:
            return False
        kind = self._types.get(ref.type)
        instance = None if kind is None else kind.instances.get(ref.id)
        return instance is not None and instance.is_held_by(caller) and self._view.holds(ref)

    # --- turns ------------------------------------------------------------------------------

    async def invoke(self, call: ActorCall, caller: str | None) -> ActorAnswer:
        """Call a method in its turn; ``caller`` is the reentrancy id, ``None`` without.

        Raises ``ActorClosedError`` when the actor is not, or no more, on this sidecar.
        """

        async def run(app: ActorApp) -> ActorAnswer:
            return await app.invoke(call)

        return await self._turn(call.ref, caller, run)

    async def fire(self, callback: Callback) -> bool:
        """Deliver a reminder or timer in its turn. Raises as ``invoke`` does."""

        async def run(app: ActorApp) -> bool:
            with traced(self._context.tracer, callback):
                return await app.fire(callback)

        return await self._turn(callback.ref, None, run)

    async def _turn(
        self, ref: ActorRef, caller: str | None, run: Callable[[ActorApp], Awaitable[T]]
    ) -> T:
        instance = await self._enter(ref, caller)
        kind = instance.kind
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        kind.running[task] = instance
        try:
            app = self._hosting.app(ref.type)
            if app is None:
                raise ActorClosedError
            policy = self._context.policies.actor_post_lock(ref.type, ref.id)
            if policy is None:
                return await run(app)
            return await policy.run(lambda: run(app))
        except asyncio.CancelledError:
            if task in kind.cut and task.uncancel() == 0:
                raise errors.invoke_failed(
                    f"the call of actor {ref} was ended because the actor leaves this sidecar"
                ) from None
            raise
        except PolicyTimeoutError as error:
            raise errors.invoke_failed(error) from error
        finally:
            kind.cut.discard(task)
            del kind.running[task]
            instance.leave()
            if kind.ended is not None:
                kind.ended.set()

    async def _enter(self, ref: ActorRef, caller: str | None) -> Instance:
        """Take the actor's turn, activating it if need be."""
        while True:
            instance = await self._instance(ref)
            most = instance.kind.settings.reentrancy.max_stack_depth if caller else _ENOUGH
            reentered = instance.is_held_by(caller)
            try:
                if not instance.try_enter(caller, most):
                    await self._wait(instance, caller, most)
            except ActorClosedError:
                if self._view.is_mine(ref):
                    continue  # deactivated as idle meanwhile: it comes to life again
                raise
            except StackDepthError:
                raise errors.stack_depth() from None
            if self._is_mine(instance) or (reentered and self._view.holds(ref)):
                instance.last_start = asyncio.get_running_loop().time()
                return instance
            instance.leave()
            raise ActorClosedError

    async def _wait(self, instance: Instance, caller: str | None, most: int) -> None:
        actors = self._context.metrics.actors
        actors.pending_calls(instance.kind.name, 1)
        try:
            await instance.wait(caller, most)
        finally:
            actors.pending_calls(instance.kind.name, -1)

    async def _instance(self, ref: ActorRef) -> Instance:
        while True:
            kind = self._types.get(ref.type)
            if kind is not None:
                instance = kind.instances.get(ref.id)
                if instance is not None:
                    return instance
                leaving = kind.leaving.get(ref.id)
                if leaving is not None:
                    await asyncio.shield(leaving)
                    continue
            return self._activate(ref, kind)

    def _activate(self, ref: ActorRef, kind: TypeInstances | None) -> Instance:
        settings = self._hosting.settings(ref.type)
        if settings is None or not self._view.is_mine(ref):
            raise ActorClosedError
        if kind is None:
            kind = self._types[ref.type] = TypeInstances(ref.type, settings)
        kind.settings = settings
        now = asyncio.get_running_loop().time()
        instance = kind.instances[ref.id] = Instance(kind, ref.id, now)
        self.deactivation.watch(instance, settings)
        return instance

    def _is_mine(self, instance: Instance) -> bool:
        """As the view's; a ring that was asked once is not asked again."""
        view, name = self._view, instance.kind.name
        table = view.tables.get(name)
        if table is not None and instance.table is table:
            return view.is_settled(name) and name in view.hosted and view.in_force
        if not view.is_mine(ActorRef(name, instance.id)):
            return False
        instance.table = table
        return True

    def settings(self, actor_type: str) -> TypeSettings | None:
        """The settings of a type that is hosted here now."""
        return self._hosting.settings(actor_type)
