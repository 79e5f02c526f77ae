"""One client's stream of events: a queue with a bound, which cuts whoever does not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId

MOST_QUEUED = 1000
"""Events; they are shared by all clients of a namespace, so that a queue holds references only."""

Accepts = Callable[[str], bool]


class Subscription:
    """``put`` never waits. ``send_to`` runs in the call's task and ends with ``RpcError``."""

    __slots__ = ("_accepts", "_end", "_queued", "_task", "_waiter", "app_id", "namespace")

    def __init__(self, identity: SpiffeId, accepts: Accepts | None = None) -> None:
        self.namespace = identity.namespace
        self.app_id = identity.app_id
        self._accepts = accepts
        self._queued: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[object] | None = None
        self._end: RpcError | None = None

    def wants(self, name: str) -> bool:
        """Whether it is for objects of this name."""
        return self._accepts is None or self._accepts(name)

    def put(self, message: bytes) -> None:
        """Queue an event."""
        if len(self._queued) >= MOST_QUEUED:
            self.end(
                RpcError(
                    GrpcCode.RESOURCE_EXHAUSTED,
                    f"more than {MOST_QUEUED} events were not read: connect and list again",
                )
            )
            return
        self._queued.append(message)
        self._wake()

    def end(self, error: RpcError) -> None:
        """End the stream at once, even while its client does not read."""
        if self._end is not None:
            return
        self._end = error
        self._queued.clear()
        if self._waiter is not None:
            self._wake()
        elif self._task is not None:
            self._task.cancel()

    async def send_to(self, context: Context) -> None:
        """Send events until the client goes or the stream is ended. Raises ``RpcError``."""
        self._task = asyncio.current_task()
        context.send_initial_metadata()  # from here on nothing is missed: the client may list
        try:
            while True:
                while self._queued:
                    await context.send(self._queued.popleft())
                if self._end is not None:
                    raise self._end
                await self._wait()
        except asyncio.CancelledError:
            if self._end is not None:
                raise self._end from None
            raise
        finally:
            self._task = None

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
