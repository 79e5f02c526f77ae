"""Addresses of pages in Dapr's own dashboard, led to where ours shows the same: links stay good."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from dapr_dashboard.facts import Facts
from dapr_dashboard.markup import anchor
from dapr_dashboard.views.policies import place


def routes(facts: Facts, base_path: str) -> dict[str, Handler]:
    """By path. A name of several things leads to the first of them."""

    async def app(request: web.Request) -> web.Response:
        app_id = request.match_info["id"]
        paths = [each.path for each in await facts.source.apps() if each.app_id == app_id]
        return _to(base_path, paths, f"app {app_id}")

    async def component(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        known = (await facts.source.resources()).components
        found = [f"/components#{anchor('component', name)}" for one in known if one.name == name]
        return _to(base_path, found, f"component {name}")

    async def configuration(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        known = (await facts.source.resources()).configurations
        found = [f"/configurations#{place(one)}" for one in known if one.name == name]
        return _to(base_path, found, f"configuration {name}")

    return {
        "/overview/{id}": app,
        "/components/{name}": component,
        "/configurations/{name}": configuration,
    }


def _to(base_path: str, found: list[str], what: str) -> web.Response:
    if not found:
        raise web.HTTPNotFound(text=f"there is no {what}")
    raise web.HTTPFound(base_path + found[0])
