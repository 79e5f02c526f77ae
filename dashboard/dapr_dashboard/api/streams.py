"""Logs over WebSockets: a JSON record for each line, the last ones and those that come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web

from dapr_dashboard import masking
from dapr_dashboard.api.choice import instance_of
from dapr_dashboard.facts import Facts
from dapr_dashboard.log_lines import level
from dapr_dashboard.model import App, LogLine, SourceError

_LAST = 100
_MOST_STREAMS = 32
_SEND_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_HEARTBEAT_SECONDS = 30.0
_MOST_HEARD_BYTES = 4 << 10
_MOST_REASON_BYTES = 120


class Streams:
    """Those that are open now; there are never many, and none waits long for its reader."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._open: set[web.WebSocketResponse] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One stream from its request to its end."""
        _refuse_other_sites(request)
        apps = await self._facts.live(instance_of(request, await self._facts.source.apps()))
        container = request.match_info["container"]
        if container not in self._facts.source.logs(apps[0]):
            raise web.HTTPNotFound(text=f"app {apps[0].app_id} has no log {container}")
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_SECONDS, timeout=_CLOSE_SECONDS, max_msg_size=_MOST_HEARD_BYTES
        )
        if not socket.can_prepare(request).ok:
            raise web.HTTPUpgradeRequired(text="logs are streamed over a WebSocket")
        if len(self._open) >= _MOST_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_STREAMS} logs are streamed already")
        self._open.add(socket)
        try:
            await socket.prepare(request)
            await self._until_either_ends(request, socket, apps, container)
        finally:
            self._open.discard(socket)
        return socket

    async def close(self, _: web.Application) -> None:
        """End all of them: the dashboard stops."""
        await asyncio.gather(
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in set(self._open))
        )

    async def _until_either_ends(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        apps: Sequence[App],
        container: str,
    ) -> None:
        sending = asyncio.ensure_future(self._send(socket, apps, container))
        hearing = asyncio.ensure_future(_hear(socket))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            results = await asyncio.gather(sending, hearing, return_exceptions=True)
        problem = results[0]
        if isinstance(problem, TimeoutError):
            _drop(request)  # it does not read: a good-bye would wait as well
        elif isinstance(problem, SourceError):
            reason = str(problem).encode()[:_MOST_REASON_BYTES].decode("utf-8", "ignore")
            await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=reason.encode())
        else:
            await socket.close()
            if isinstance(problem, Exception) and not isinstance(problem, ConnectionError):
                raise problem

    async def _send(
        self, socket: web.WebSocketResponse, apps: Sequence[App], container: str
    ) -> None:
        """Raises ``SourceError``, and ``TimeoutError`` when nobody reads."""
        source = self._facts.source
        for app in apps:
            found = source.lines(app, container, last=_LAST, follow=len(apps) == 1)
            async with aclosing(found) as lines:
                async for line in lines:
                    async with asyncio.timeout(_SEND_SECONDS):
                        await socket.send_json(_record(line, container))


def _record(line: LogLine, container: str) -> dict[str, str | int]:
    """``timestamp`` in nanoseconds since 1970: when it was read, of lines that do not say."""
    return {
        "level": level(line.text),
        "timestamp": line.nanoseconds or time.time_ns(),
        "container": container,
        "content": masking.text(line.text),
    }


async def _hear(socket: web.WebSocketResponse) -> None:
    """Until the other side closes; what it says means nothing."""
    async for _ in socket:
        pass


def _refuse_other_sites(request: web.Request) -> None:
    """Browsers let pages of any site open WebSockets, and say only whose page it is."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise web.HTTPForbidden(text="pages of other sites get no logs")


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
