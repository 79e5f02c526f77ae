"""Clear text in, TLS out: lets clients that insist on host names speak to servers without one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from typing import Self


class TlsTunnel:
    """Listens on ``port`` of 127.0.0.1; every connection gets one of TLS to ``target``."""

    def __init__(self, target: int, context: Callable[[], ssl.SSLContext]) -> None:
        self.port = 0
        self._target = target
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._pumping: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._pumping:
            task.cancel()
        if self._pumping:
            await asyncio.wait(self._pumping)

    async def _connected(self, near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumping.add(task)
        task.add_done_callback(self._pumping.discard)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_cut, writer)
            # Whatever goes wrong, the near side sees its connection close.
            with contextlib.suppress(OSError, ssl.SSLError, asyncio.CancelledError):
                far, far_writer = await asyncio.open_connection(
                    "127.0.0.1", self._target, ssl=self._context(), server_hostname=""
                )
                stack.push_async_callback(_cut, far_writer)
                await asyncio.gather(_pump(near, far_writer), _pump(far, writer))


async def _cut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
