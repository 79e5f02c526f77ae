"""An HTTP application with actors, as a process: what it hosts is the JSON in ``APP_CONFIG``.

Methods of every actor: ``echo`` (who was called and how), ``slow`` (waits ``?seconds``), ``chain``
(its body lists further actors as ``type/id``, called one in the other with the reentrancy header),
``mirror`` (its body), ``fail``, ``refuse`` (an error of the app's own) and ``write`` (waits
``?seconds``, then writes state through the sidecar). ``PUT /health/<status>`` says how its health
checks are answered.

Reports on standard output, one JSON object a line, what came and when it was over.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
from aiohttp import web

_SIDECAR = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/actors"
_REENTRANCY = "Dapr-Reentrancy-Id"


def report(**seen: Any) -> None:
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


class App:
    def __init__(self) -> None:
        self._config = json.loads(os.environ["APP_CONFIG"])
        self._health = 200
        self._running: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/dapr/config", self.config),
            web.get("/healthz", self.health),
            web.put("/health/{status}", self.set_health),
            web.put("/actors/{type}/{id}/method/{method}", self.call),
            web.delete("/actors/{type}/{id}", self.deactivate),
        ]

    async def config(self, request: web.Request) -> web.Response:
        return web.json_response(self._config)

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(status=self._health)

    async def set_health(self, request: web.Request) -> web.Response:
        self._health = int(request.match_info["status"])
        return web.Response()

    async def deactivate(self, request: web.Request) -> web.Response:
        actor = _actor(request)
        report(event="deactivate", actor=actor, running=self._running.get(actor, 0))
        return web.Response()

    async def call(self, request: web.Request) -> web.Response:
        actor, method = _actor(request), request.match_info["method"]
        depth = self._running[actor] = self._running.get(actor, 0) + 1
        report(event="call", actor=actor, method=method, depth=depth)
        try:
            return await self._serve(request, actor, method)
        finally:
            self._running[actor] -= 1
            report(event="over", actor=actor, method=method)

    async def _serve(self, request: web.Request, actor: str, method: str) -> web.Response:
        seconds = float(request.query.get("seconds", "0"))
        if method == "slow":
            await asyncio.sleep(seconds)
        elif method == "write":
            await asyncio.sleep(seconds)
            return web.json_response({"written": await _write(actor)})
        elif method == "chain":
            return await _chain(request)
        elif method == "mirror":
            return web.Response(body=await request.read())
        elif method == "fail":
            return web.Response(status=500, text="it failed")
        elif method == "refuse":
            return web.json_response({"refused": actor}, headers={"X-DaprErrorResponseHeader": "1"})
        elif method != "echo":
            return web.Response(status=404)
        return web.json_response(
            {
                "app": os.environ["APP_NAME"],
                "actor": actor,
                "path": request.raw_path,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": await request.text(),
            }
        )


def _actor(request: web.Request) -> str:
    return f"{request.match_info['type']}/{request.match_info['id']}"


async def _chain(request: web.Request) -> web.Response:
    following = await request.json()
    if not following:
        return web.json_response({"depth": 1})
    headers = {}
    if given := request.headers.get(_REENTRANCY):
        headers[_REENTRANCY] = given
    url = f"{_SIDECAR}/{following[0]}/method/chain"
    async with (
        aiohttp.ClientSession() as http,
        http.put(url, json=following[1:], headers=headers) as answer,
    ):
        if answer.status != 200:
            return web.Response(status=500, text=await answer.text())
        return web.json_response({"depth": (await answer.json())["depth"] + 1})


async def _write(actor: str) -> int:
    body = [{"operation": "upsert", "request": {"key": "k", "value": "late"}}]
    url = f"{_SIDECAR}/{actor}/state"
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        report(event="written", actor=actor, status=answer.status)
        return answer.status


def main() -> None:
    app = web.Application(client_max_size=8 << 20)
    app.add_routes(App().routes())
    web.run_app(
        app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), print=None, shutdown_timeout=0.1
    )


main()
