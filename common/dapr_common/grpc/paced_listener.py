"""A TLS listener that serves a crowd in the order it came."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
from collections.abc import Callable

from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.grpc.server")
_BACKLOG = 4096
_SLOT_SECONDS = 0.25
_HANDSHAKE_SECONDS = 10.0
_PAUSE_SECONDS = 0.1

Factory = Callable[[], asyncio.Protocol]


class PacedListener:
    """At most ``slots`` connections shake hands at a time, the others wait in the kernel's queue.

    When a thousand clients come at once, the first are answered early and the last late. Without
    this all would be answered at the very end, when nobody waits any longer. A peer that says
    nothing keeps its slot for a quarter of a second only.
    """

    def __init__(
        self, bound: socket.socket, factory: Factory, ssl: tls.SSLContext, slots: int
    ) -> None:
        self._socket = bound
        self._factory = factory
        self._ssl = ssl
        self._free = asyncio.Semaphore(slots)
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        bound.listen(_BACKLOG)
        self._accepting = self._loop.create_task(self._accept(), name="accept")

    def close(self) -> None:
        """Accept nothing more; handshakes under way end."""
        self._accepting.cancel()
        self._socket.close()
        for task in self._handshakes:
            task.cancel()

    async def _accept(self) -> None:
        while True:
            await self._free.acquire()
            try:
                accepted, _ = await self._loop.sock_accept(self._socket)
            except OSError as error:  # too many open files, or the peer is gone already
                _LOG.warning("a connection could not be accepted: %s", error)
                self._free.release()
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            task = self._loop.create_task(self._shake_hands(accepted), name="handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        slot = self._loop.call_later(_SLOT_SECONDS, self._free.release)
        try:
            with contextlib.suppress(OSError, tls.SSLError, TimeoutError):
                await self._loop.connect_accepted_socket(
                    self._factory,
                    accepted,
                    ssl=self._ssl,
                    ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                )
        finally:
            if not slot.cancelled() and self._loop.time() < slot.when():
                slot.cancel()
                self._free.release()
