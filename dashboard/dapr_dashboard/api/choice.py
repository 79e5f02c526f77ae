"""What a request of the API means by its scope and its names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from aiohttp import web

from dapr_dashboard.model import App

ALL = "All"


class _Placed(Protocol):
    @property
    def namespace(self) -> str: ...


Placed = TypeVar("Placed", bound=_Placed)
Found = TypeVar("Found")


def in_scope(request: web.Request, found: Iterable[Placed]) -> list[Placed]:
    """Those of the namespace that is asked for; ``All`` is every one."""
    scope = request.match_info["scope"]
    return [one for one in found if scope in (ALL, one.namespace)]


def all_of(found: list[Found], what: str) -> list[Found]:
    """The same, when there is one. Raises ``HTTPNotFound``."""
    if not found:
        raise web.HTTPNotFound(text=f"there is no {what}")
    return found


def instance_of(request: web.Request, apps: Iterable[App]) -> list[App]:
    """The replicas of the app that is asked for. Raises ``HTTPNotFound``."""
    app_id, scope = request.match_info["id"], request.match_info["scope"]
    found = [app for app in in_scope(request, apps) if app.app_id == app_id]
    return grouped(all_of(found, f"app {app_id} in {scope}"))[0]


def grouped(apps: Iterable[App]) -> list[list[App]]:
    """Pods of one app id in a namespace are replicas; every process of a machine stands alone."""
    found: dict[tuple[str, ...], list[App]] = {}
    for app in apps:
        key = (app.namespace, app.app_id, "" if app.pod else app.name)
        found.setdefault(key, []).append(app)
    return list(found.values())
