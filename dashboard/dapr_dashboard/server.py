"""The pages' routes: ask the source, ask the sidecars, show. Only reading; no scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from dapr_dashboard import addresses, api
from dapr_dashboard.facts import Facts
from dapr_dashboard.failures import failures
from dapr_dashboard.guard import Guard
from dapr_dashboard.history import History
from dapr_dashboard.markup import Html
from dapr_dashboard.model import App
from dapr_dashboard.traces import Traces
from dapr_dashboard.views import apps as app_views
from dapr_dashboard.views import components, observed, plane, policies
from dapr_dashboard.views.page import REFRESH_SECONDS, Shell

_MOST_WORD = 200
_ASKED = ("q", "lines")
Page = Callable[[web.Request, Shell], Awaitable[Html]]


@dataclass(slots=True)
class Dashboard:
    """Everything the pages are made of."""

    facts: Facts
    history: History
    traces: Traces = field(default_factory=Traces)
    base_path: str = ""
    """Below which a proxy shows it, such as ``/dapr``; it answers at the root, too."""
    receiver_port: int = 0
    receiver_problem: str = "there is no receiver"

    def application(self, names: Sequence[str] = ()) -> web.Application:
        """The web application; ``names`` are host names beside ``localhost``."""
        guard = Guard(names)
        app = web.Application(middlewares=[guard.middleware(), failures(self._failed)])
        routes = {path: self._handler(page) for path, page in self._pages().items()}
        routes |= {"/static/style.css": _style, "/healthz": _healthz}
        streams = api.Streams(self.facts)
        routes |= api.routes(self.facts, streams)
        routes |= addresses.routes(self.facts, self.base_path)
        for path, handler in routes.items():
            for base in {"", self.base_path}:
                app.router.add_get(base + path, handler)
        if self.base_path:
            app.router.add_get(self.base_path, routes["/"])
        app.on_shutdown.append(streams.close)
        return app

    def _pages(self) -> dict[str, Page]:
        return {
            "/": self._overview,
            "/overview": self._overview,
            "/apps/{namespace}/{name}": self._app,
            "/apps/{namespace}/{name}/logs/{log}": self._app_log,
            "/components": self._components,
            "/configurations": self._configurations,
            "/resiliency": self._resiliency,
            "/actors": self._actors,
            "/controlplane": self._control_plane,
            "/metrics": self._metrics,
            "/traces": self._traces_page,
            "/traces/{trace}": self._trace,
        }

    # --- pages ------------------------------------------------------------------------------

    async def _overview(self, request: web.Request, shell: Shell) -> Html:
        return app_views.overview(shell, await self.facts.apps())

    async def _app(self, request: web.Request, shell: Shell) -> Html:
        app = await self._one(request)
        return app_views.detail(shell, app, self.facts.source.logs(app))

    async def _app_log(self, request: web.Request, shell: Shell) -> Html:
        app = await self._one(request)
        name = request.match_info["log"]
        if name not in self.facts.source.logs(app):
            raise web.HTTPNotFound(text=f"app {app.app_id} has no log {name}")
        text = await self.facts.log(app, name)
        lines = request.query.get("lines", "")
        chosen = int(lines) if lines in map(str, observed.LINE_CHOICES) else 500
        wanted = request.query.get("q", "")[:_MOST_WORD]
        return observed.log(shell, app, name, text, wanted, chosen)

    async def _components(self, request: web.Request, shell: Shell) -> Html:
        found, apps = await asyncio.gather(self.facts.source.resources(), self.facts.apps())
        return components.page(shell, found, apps)

    async def _configurations(self, request: web.Request, shell: Shell) -> Html:
        found, apps = await asyncio.gather(self.facts.source.resources(), self.facts.source.apps())
        return policies.configurations(shell, found, apps)

    async def _resiliency(self, request: web.Request, shell: Shell) -> Html:
        found, apps = await asyncio.gather(
            self.facts.source.resources(), self.facts.apps(metrics=True)
        )
        return policies.resiliency(shell, found, apps)

    async def _actors(self, request: web.Request, shell: Shell) -> Html:
        return plane.actors(shell, await self.facts.apps())

    async def _control_plane(self, request: web.Request, shell: Shell) -> Html:
        return plane.control_plane(shell, await self.facts.source.control_plane())

    async def _metrics(self, request: web.Request, shell: Shell) -> Html:
        apps = await self.facts.apps(metrics=True)
        return observed.metrics(shell, apps, {app.path: self.history.rates(app) for app in apps})

    async def _traces_page(self, request: web.Request, shell: Shell) -> Html:
        return observed.traces(shell, self.traces.last(), self.receiver_port, self.receiver_problem)

    async def _trace(self, request: web.Request, shell: Shell) -> Html:
        found = self.traces.get(request.match_info["trace"])
        if found is None:
            raise web.HTTPNotFound(text="this trace is not, or no longer, in memory")
        return observed.trace(shell, found)

    async def _one(self, request: web.Request) -> App:
        wanted = request.match_info["namespace"], request.match_info["name"]
        for app in await self.facts.source.apps():
            if (app.namespace, app.name) == wanted:
                (found,) = await self.facts.live([app])
                return found
        raise web.HTTPNotFound(text=f"there is no app instance {wanted[1]} in {wanted[0]} any more")

    # --- HTTP -------------------------------------------------------------------------------

    def _handler(self, page: Page) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.history.wanted()
            return _html(await page(request, self._shell(request)))

        return handle

    def _shell(self, request: web.Request) -> Shell:
        asked = request.query.get("refresh", "")
        seconds = int(asked) if asked in map(str, REFRESH_SECONDS) else 0
        path = request.rel_url.raw_path
        if self.base_path and path.startswith(f"{self.base_path}/"):
            path = path.removeprefix(self.base_path)
        elif path == self.base_path:
            path = "/"
        return Shell(
            path=path,
            where=self.facts.source.title,
            now=datetime.now(UTC),
            refresh=seconds,
            query={name: request.query[name] for name in _ASKED if request.query.get(name)},
            base=self.base_path,
        )

    def _failed(self, request: web.Request, title: str, text: str, status: int) -> web.Response:
        if api.is_api(request.path.removeprefix(self.base_path)):
            return api.failed(text, status)
        return _html(observed.failed(self._shell(request), title, text), status)


def _html(page: Html, status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8")


async def _style(request: web.Request) -> web.Response:
    text = files("dapr_dashboard").joinpath("static/style.css").read_text(encoding="utf-8")
    return web.Response(text=text, content_type="text/css", charset="utf-8")


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")
