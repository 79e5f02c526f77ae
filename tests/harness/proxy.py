"""A TCP proxy that can stop forwarding, lose or cut its connections, and refuse new ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.programs import free_port

_CHUNK = 64 << 10


class Proxy:
    """Between a client and the server at ``target_port`` of this machine."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gates: set[asyncio.Event] = set()  # one for each connection that is not lost
        self._holds = False
        self.port = 0
        self.accepted = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Accept connections, on the same port as before when there was one.

        It is none of those that the system gives away: a client that asks for such a port again
        and again, while nobody listens on it, may reach itself there.
        """
        self.port = self.port or free_port()
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def hold(self) -> None:
        """Forward nothing more; connections stay open."""
        self._holds = True
        for gate in self._gates:
            gate.clear()

    def release(self) -> None:
        """Forward again, beginning with what was held."""
        self._holds = False
        for gate in self._gates:
            gate.set()

    def lose(self) -> None:
        """Forward nothing more on the connections there are, for ever, and tell nobody: what a
        firewall does that forgot them. New ones are forwarded.
        """
        for gate in self._gates:
            gate.clear()
        self._gates.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Close the port, and every connection."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    async def close(self) -> None:
        """End it all."""
        self.refuse()
        for _ in range(3):  # a connection accepted just now has a task that has not begun
            await asyncio.sleep(0)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed a turn later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the test is over, or cut the line
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(far_writer)
        gate = asyncio.Event()
        if not self._holds:
            gate.set()
        self._gates.add(gate)
        try:
            pumps = [
                asyncio.ensure_future(_pump(reader, far_writer, gate)),
                asyncio.ensure_future(_pump(far_reader, writer, gate)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._gates.discard(gate)
            self._writers.discard(far_writer)
            far_writer.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            await gate.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy for as long as a test needs it."""
    found = Proxy(target_port)
    await found.start()
    try:
        yield found
    finally:
        await found.close()
