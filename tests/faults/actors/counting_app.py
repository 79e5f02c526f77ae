"""An actor host whose actors count their calls and notice when one of them lives twice.

Each activation writes a new epoch into the actor's state. An actor that finds another epoch there
than its own was activated elsewhere meanwhile. That may happen to a turn that began before its
sidecar lost the actor, but then what the turn writes must be refused: it reports ``violation`` when
it is not. What it writes goes through its sidecar, as an SDK's state manager does it.

Reports on standard output, one JSON object a line: ``fired`` (reminder or timer), ``violation``,
``left`` (deactivated).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import aiohttp
from aiohttp import web

TYPE = "Counter"
_STATE = "value"


class Actor:
    """One activation."""

    def __init__(self, epoch: int, count: int) -> None:
        self.epoch = epoch
        self.count = count
        self.successor = 0  # the epoch found instead of its own


class App:
    def __init__(self) -> None:
        self._state_url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/actors/{TYPE}"
        self._delay = float(os.environ.get("APP_DELAY", "0"))
        self._actors: dict[str, Actor] = {}
        self._http: aiohttp.ClientSession | None = None

    async def open(self, _: web.Application) -> None:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32))

    async def config(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "entities": [TYPE],
                "drainOngoingCallTimeout": "2s",
                "drainRebalancedActors": True,
                "remindersStoragePartitions": 4,
            }
        )

    async def method(self, request: web.Request) -> web.Response:
        name, method = request.match_info["id"], request.match_info["method"]
        await request.read()
        if method == "ping":
            return web.json_response({"count": (await self._alive(name)).count})
        actor = await self._alive(name)
        if self._delay:
            await asyncio.sleep(self._delay)
        await self._write(name, actor, actor.count + 1)
        return web.json_response({"count": actor.count})

    async def callback(self, request: web.Request) -> web.Response:
        name, kind = request.match_info["id"], request.match_info["kind"]
        await request.read()
        actor = await self._alive(name)
        await self._write(name, actor, actor.count)
        _report(fired=kind, actor=name, name=request.match_info["name"])
        return web.json_response(None)

    async def deactivate(self, request: web.Request) -> web.Response:
        if self._actors.pop(request.match_info["id"], None) is not None:
            _report(left=request.match_info["id"])
        return web.Response()

    async def _alive(self, name: str) -> Actor:
        found = await self._read(name)
        actor = self._actors.get(name)
        if actor is None:
            actor = Actor(found.get("epoch", 0) + 1, found.get("count", 0))
            await self._write(name, actor, actor.count)
            self._actors[name] = actor
        elif found.get("epoch") != actor.epoch:
            actor.successor = found.get("epoch", -1)
        return actor

    async def _read(self, name: str) -> dict[str, Any]:
        assert self._http is not None
        async with self._http.get(f"{self._state_url}/{name}/state/{_STATE}") as answer:
            if answer.status == 204:
                return {}
            if answer.status != 200:
                raise web.HTTPInternalServerError(text=await answer.text())
            return dict(await answer.json())

    async def _write(self, name: str, actor: Actor, count: int) -> None:
        assert self._http is not None
        value = {"epoch": actor.epoch, "count": count}
        operation = {"operation": "upsert", "request": {"key": _STATE, "value": value}}
        async with self._http.post(f"{self._state_url}/{name}/state", json=[operation]) as answer:
            if answer.status != 204:
                raise web.HTTPInternalServerError(text=await answer.text())
        actor.count = count
        if actor.successor:
            _report(violation=name, own=actor.epoch, found=actor.successor)


def _report(**values: object) -> None:
    sys.stdout.write(json.dumps({**values, "at": time.time()}) + "\n")
    sys.stdout.flush()


def main() -> None:
    app, state = web.Application(), App()
    app.on_startup.append(state.open)
    app.router.add_get("/dapr/config", state.config)
    app.router.add_get("/healthz", _healthy)
    root = f"/actors/{TYPE}/{{id}}"
    app.router.add_put(f"{root}/method/{{kind:remind|timer}}/{{name}}", state.callback)
    app.router.add_put(f"{root}/method/{{method}}", state.method)
    app.router.add_delete(root, state.deactivate)
    port = int(os.environ["APP_PORT"])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    main()
