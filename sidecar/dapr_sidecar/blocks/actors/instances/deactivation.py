"""How actors leave: idle ones by and by, those that move in order, all at once when told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import Context

from dapr_common.errors import DaprError
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.base import TypeSettings
from dapr_sidecar.blocks.actors.hosting import Hosting
from dapr_sidecar.blocks.actors.idle import IdleWheel
from dapr_sidecar.blocks.actors.instances.instance import Instance, TypeInstances
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors")
_AT_ONCE = 32
_LOOKED_AT_ONCE = 2000
_DEACTIVATE_SECONDS = 10.0
_PATIENCE_SECONDS = 3.0
"""How long a round of placement waits for deactivations; the rest goes on beside it."""
_CUT_SECONDS = 1.0
_BUSY_SECONDS = 1.0


class Deactivation:
    """Listens to ownership, and owns the timer of idle actors and the tasks that tell the app."""

    def __init__(
        self,
        context: SidecarContext,
        hosting: Hosting,
        view: PlacementView,
        types: Mapping[str, TypeInstances],
    ) -> None:
        self._context = context
        self._hosting = hosting
        self._view = view
        self._types = types
        self._wheel: IdleWheel[Instance] = IdleWheel()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    # --- idle -------------------------------------------------------------------------------

    def watch(self, instance: Instance, settings: TypeSettings) -> None:
        """Deactivate this one when it was not called for a while."""
        self._wheel.put(instance, instance.last_start + settings.idle_timeout)
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._wheel.next_due
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()

        def due_of(instance: Instance) -> float | None:
            if instance.closed:
                return None
            idle = instance.last_start + instance.kind.settings.idle_timeout
            return max(idle, now + _BUSY_SECONDS) if instance.busy else idle

        found = self._wheel.take(now, due_of)
        if found:
            self._spawn(self._tell_app(self._taken_out(found)))
        self._set_timer()

    # --- moves ------------------------------------------------------------------------------

    async def leaving(self, types: frozenset[str]) -> None:
        """Drain what moves, then deactivate it; everything when placement was lost."""
        affected = [self._types[name] for name in types if name in self._types]
        await asyncio.gather(*(self._let_go(kind, drain=self._view.connected) for kind in affected))

    def settled(self, types: frozenset[str]) -> None:
        """Nothing waits here."""

    async def _let_go(self, kind: TypeInstances, *, drain: bool) -> None:
        moved = await self._moved(kind)
        if not moved:
            return
        await self._end_turns(kind, moved, drain=drain)
        rebalanced = self._context.metrics.actors.rebalanced
        leaving = self._taken_out(moved)
        for _ in leaving:
            rebalanced(kind.name)
        if leaving:
            task = self._spawn(self._tell_app(leaving))
            await asyncio.wait([task], timeout=_PATIENCE_SECONDS)

    async def _moved(self, kind: TypeInstances) -> set[Instance]:
        """Who has to leave; nobody comes meanwhile."""
        moved = set()
        for number, instance in enumerate(list(kind.instances.values()), 1):
            if not self._view.keeps(instance.ref):
                moved.add(instance)
            if number % _LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return moved

    async def _end_turns(self, kind: TypeInstances, moved: set[Instance], *, drain: bool) -> None:
        """Let turns end by themselves for as long as the type allows, then end them."""
        settings = kind.settings
        if drain and settings.drain_rebalanced:
            await _turns_over(kind, moved, settings.drain_timeout)
        await self._cut(kind, _CUT_SECONDS, moved)

    async def _cut(
        self, kind: TypeInstances, seconds: float, moved: set[Instance] | None = None
    ) -> None:
        """End turns, those of all actors of the type without ``moved``; wait so long for it."""
        moved = set(kind.running.values()) if moved is None else moved
        for task, instance in kind.running.items():
            if instance in moved and task not in kind.cut:
                kind.cut.add(task)
                task.cancel()
        await _turns_over(kind, moved, seconds)

    # --- the app ----------------------------------------------------------------------------

    def _taken_out(self, instances: Iterable[Instance]) -> list[Instance]:
        """Close these; a call that comes meanwhile waits until the app has let go."""
        loop = asyncio.get_running_loop()
        taken = []
        for instance in instances:
            kind = instance.kind
            if instance.closed or kind.instances.get(instance.id) is not instance:
                continue
            del kind.instances[instance.id]
            kind.leaving[instance.id] = loop.create_future()
            instance.close()
            taken.append(instance)
        return taken

    async def _tell_app(self, instances: list[Instance]) -> None:
        """Deactivate these in the app, some at a time."""
        waiting = iter(instances)
        workers = min(_AT_ONCE, len(instances))
        try:
            await asyncio.gather(*(self._work(waiting) for _ in range(workers)))
        finally:
            for instance in waiting:  # nobody gets to these; the others may live again by now
                _gone(instance)

    async def _work(self, waiting: Iterator[Instance]) -> None:
        for instance in waiting:
            try:
                await self._deactivate(instance)
            finally:
                _gone(instance)

    async def _deactivate(self, instance: Instance) -> None:
        app, ref = self._hosting.app(instance.kind.name), instance.ref
        if app is None:
            return
        success = False
        try:
            async with asyncio.timeout(_DEACTIVATE_SECONDS):
                await app.deactivate(ref)
            success = True
        except (DaprError, OSError, TimeoutError) as error:
            _LOG.warning("the app did not deactivate actor %s: %s", ref, error or "no answer")
        except Exception:  # noqa: BLE001 - the others must leave, too
            _LOG.exception("the app did not deactivate actor %s", ref)
        self._context.metrics.actors.deactivated(ref.type, success)

    def _spawn(self, work: object) -> asyncio.Task[None]:
        # Not in the context of the call that set the timer: its trace is over.
        task: asyncio.Task[None] = asyncio.create_task(
            work,  # type: ignore[arg-type]
            name="deactivate-actors",
            context=Context(),
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- stop -------------------------------------------------------------------------------

    async def close(self, seconds: float) -> None:
        """End the turns that still run and deactivate what is left, within so long."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(self._cut(kind, seconds / 2) for kind in self._types.values()))
        left = [one for kind in self._types.values() for one in kind.instances.values()]
        if left:
            self._spawn(self._tell_app(self._taken_out(left)))
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds / 2)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _turns_over(kind: TypeInstances, moved: set[Instance], seconds: float) -> None:
    """Wait until no turn of these runs, for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while any(instance in moved for instance in kind.running.values()):
                ended = kind.ended = kind.ended or asyncio.Event()
                ended.clear()
                await ended.wait()


def _gone(instance: Instance) -> None:
    leaving = instance.kind.leaving.pop(instance.id, None)
    if leaving is not None and not leaving.done():
        leaving.set_result(None)
