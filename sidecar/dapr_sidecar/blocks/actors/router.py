"""Takes calls to wherever the actor is: this sidecar or another one, again after it has moved."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dapr_sidecar.blocks.actors import errors, headers
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRef, Callback, Owner
from dapr_sidecar.blocks.actors.errors import MethodNotFoundError, NotHereError
from dapr_sidecar.blocks.actors.instances.host import ActorHost
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.remote import DISSEMINATING, MOVED, RemoteActors
from dapr_sidecar.blocks.actors.turns import ActorClosedError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import CircuitOpenError, PermanentError

T = TypeVar("T")
_BUILT_IN = "DaprBuiltInActorNotFoundRetries"
_LOOKS = 3
_PEER_WAIT_SECONDS = 5.0


class Router:
    """Implements ``ActorRouter``."""

    def __init__(
        self, context: SidecarContext, view: PlacementView, host: ActorHost, remote: RemoteActors
    ) -> None:
        self._context = context
        self._view = view
        self._host = host
        self._remote = remote

    # --- from this sidecar ------------------------------------------------------------------

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        """Call a method. Raises ``DaprError``."""
        caller = self._reentrancy_id(call)
        policies, ref = self._context.policies, call.ref
        runner = policies.actor_pre_lock(ref.type, ref.id)
        built_in = not policies.has_actor_target(ref.type)
        try:
            if runner is None:
                try:
                    return await self._invoke(call, caller)
                except NotHereError as error:
                    if not built_in:
                        raise
                    return await self._again(lambda: self._invoke(call, caller), error)

            async def attempt() -> ActorAnswer:
                try:
                    if not built_in:
                        return await self._invoke(call, caller)
                    return await self._again(lambda: self._invoke(call, caller))
                except MethodNotFoundError as error:
                    raise PermanentError from error

            return await runner.run(attempt)
        except (NotHereError, CircuitOpenError) as error:
            raise errors.invoke_failed(error) from error

    async def fire(self, callback: Callback) -> bool:
        """Deliver a reminder or timer; whether the app wants no more. Raises ``DaprError``."""
        try:
            return await self._again(lambda: self._fire(callback))
        except NotHereError as error:
            raise errors.invoke_failed(error) from error

    def _reentrancy_id(self, call: ActorCall) -> str | None:
        """Who a call comes from, when its type is hosted here and allows reentrancy."""
        settings = self._host.settings(call.ref.type)
        if settings is None or not settings.reentrancy.enabled:
            return None
        given = headers.first(call.headers, headers.REENTRANCY_ID)
        if not given:
            given = str(uuid.uuid4())
            # An empty one would stand before it, and the app would hand that on.
            kept = [pair for pair in call.headers if pair[0] != headers.REENTRANCY_ID]
            call.headers = [*kept, (headers.REENTRANCY_ID, given.encode())]
        return given

    async def _invoke(self, call: ActorCall, caller: str | None) -> ActorAnswer:
        """One attempt; what moved meanwhile is looked up anew."""
        known = self._host.is_known(call.ref)
        for _ in range(_LOOKS):
            if not known:
                owner = await self._owner(call.ref, caller)
                if not owner.local:
                    return await self._remote.invoke(call, owner)
            try:
                return await self._host.invoke(call, caller)
            except ActorClosedError:
                known = False
        raise _closed(call.method)

    async def _fire(self, callback: Callback) -> bool:
        for _ in range(_LOOKS):
            owner = await self._owner(callback.ref, None)
            if not owner.local:
                return await self._remote.fire(callback, owner)
            try:
                return await self._host.fire(callback)
            except ActorClosedError:
                continue
        raise _closed(callback.name)

    async def _owner(self, ref: ActorRef, caller: str | None) -> Owner:
        view = self._view
        while True:
            if not view.is_settled(ref.type):
                if self._host.reenters(ref, caller):
                    return Owner("", "", True)
                await view.wait_settled(ref.type)
            owner = view.owner(ref)
            if owner is None or (owner.local and ref.type not in view.hosted):
                raise errors.lookup_failed(ref)
            if not owner.local or view.in_force:
                return owner
            await view.wait_in_force()

    async def _again(
        self, attempt: Callable[[], Awaitable[T]], first: NotHereError | None = None
    ) -> T:
        """Under the built-in retries; ``first`` is what an attempt already made ended with."""
        pending = first

        async def once() -> T:
            nonlocal pending
            if pending is not None:
                failed, pending = pending, None
                raise failed
            try:
                return await attempt()
            except NotHereError:
                raise
            except Exception as error:
                raise PermanentError from error

        return await self._context.policies.builtin(_BUILT_IN).run(once)

    # --- from other sidecars ----------------------------------------------------------------

    async def invoke_here(self, call: ActorCall) -> ActorAnswer:
        """A call that another sidecar takes for this one's. Raises ``DaprError``."""
        await self._settled(call.ref)
        caller = self._reentrancy_id(call)
        try:
            return await self._host.invoke(call, caller)
        except ActorClosedError as error:
            raise errors.invoke_failed(MOVED) from error

    async def fire_here(self, callback: Callback) -> bool:
        """The same of a reminder or timer."""
        await self._settled(callback.ref)
        try:
            return await self._host.fire(callback)
        except ActorClosedError as error:
            raise errors.invoke_failed(MOVED) from error

    async def _settled(self, ref: ActorRef) -> None:
        """Callers have retries of their own: they do not wait here for a placement that is gone."""
        if self._view.is_settled(ref.type) and self._view.in_force:
            return
        try:
            async with asyncio.timeout(_PEER_WAIT_SECONDS):
                await self._view.wait_in_force()
                await self._view.wait_settled(ref.type)
        except TimeoutError:
            raise errors.invoke_failed(f"actor {ref} cannot be called now{DISSEMINATING}") from None


def _closed(method: str) -> NotHereError:
    return NotHereError(f"actor is closed, cannot handle {method}")
