"""What the actor API means, for both transports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dapr_sidecar.blocks.actors import errors, headers
from dapr_sidecar.blocks.actors.base import ActorAnswer, ActorCall, ActorRouter, Callback
from dapr_sidecar.blocks.actors.names import call_problem
from dapr_sidecar.context import SidecarContext


class PeerRouter(ActorRouter, Protocol):
    """A router that takes calls of other sidecars, too."""

    async def invoke_here(self, call: ActorCall) -> ActorAnswer: ...

    async def fire_here(self, callback: Callback) -> bool: ...


class ActorBlock:
    """Checks calls as they come in and says who made them."""

    def __init__(
        self, context: SidecarContext, router: PeerRouter, closed: Callable[[], bool]
    ) -> None:
        self.context = context
        self._router = router
        self._closed = closed

    async def invoke(self, call: ActorCall) -> ActorAnswer:
        """A call of an API client. Raises ``DaprError``."""
        if (problem := call_problem(call.ref, call.method)) is not None:
            raise errors.bad_request(problem)
        if self._closed():
            raise errors.runtime_closed()
        own = self.context.identity
        call.headers = headers.from_client(call.headers, own.app_id, own.invocation_namespace)
        return await self._router.invoke(call)

    async def invoke_for_peer(self, call: ActorCall, caller: tuple[str, str] | None) -> ActorAnswer:
        """A call of another sidecar; ``caller`` is its namespace and app id, proved by TLS.

        Raises ``DaprError``, also for names that would lead elsewhere in the app.
        """
        if (problem := call_problem(call.ref, call.method)) is not None:
            raise errors.bad_request(problem)
        if self._closed():
            raise errors.runtime_closed()
        own = self.context.identity
        pairs = [pair for pair in call.headers if pair[0] != headers.REMOTE]
        if caller is not None:
            pairs = headers.with_caller(pairs, caller[1], caller[0])
        elif headers.first(pairs, headers.CALLER_APP_ID) is None:
            pairs = headers.with_caller(pairs, own.app_id, own.invocation_namespace)
        call.headers = [*pairs, (headers.REMOTE, b"true")]
        return await self._router.invoke_here(call)

    async def fire_for_peer(self, callback: Callback) -> bool:
        """A reminder or timer that another sidecar has. Raises ``DaprError`` as above."""
        if (problem := call_problem(callback.ref, callback.name)) is not None:
            raise errors.bad_request(problem)
        if self._closed():
            raise errors.runtime_closed()
        return await self._router.fire_here(callback)
