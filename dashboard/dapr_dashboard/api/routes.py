"""The API's paths: choose among the facts by scope and name, and write them as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from dapr_common import RUNTIME_VERSION
from dapr_dashboard.api import records
from dapr_dashboard.api.choice import ALL, all_of, grouped, in_scope, instance_of
from dapr_dashboard.api.streams import Streams
from dapr_dashboard.facts import Facts
from dapr_dashboard.model import App, ComponentFact, SourceError, SpecFact
from dapr_dashboard.sources.pods import manifest

_KUBERNETES = "kubernetes"
Fact = TypeVar("Fact", ComponentFact, SpecFact)


def routes(facts: Facts, streams: Streams) -> dict[str, Handler]:
    """By path; every one is asked by GET."""
    api = _Api(facts)
    return {
        "/api/features": api.features,
        "/api/platform": api.platform,
        "/api/scopes": api.scopes,
        "/api/version": api.version,
        "/api/instances/{scope}": api.instances,
        "/api/instances/{scope}/{id}": api.instance,
        "/api/instances/{scope}/{id}/containers": api.containers,
        "/api/instances/{scope}/{id}/logstreams/{container}": streams.handle,
        "/api/deploymentconfiguration/{scope}/{id}": api.deployment,
        "/api/metadata/{scope}/{id}": api.metadata,
        "/api/components/{scope}": api.components,
        "/api/components/{scope}/{name}": api.component,
        "/api/configurations/{scope}": api.configurations,
        "/api/configurations/{scope}/{name}": api.configuration,
        "/api/controlplanestatus": api.control_plane,
    }


class _Api:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._source = facts.source

    async def features(self, request: web.Request) -> web.Response:
        is_cluster = self._source.platform == _KUBERNETES
        return _json(["components", "configurations", *(["status"] if is_cluster else [])])

    async def platform(self, request: web.Request) -> web.Response:
        return web.Response(text=self._source.platform)

    async def scopes(self, request: web.Request) -> web.Response:
        """Namespaces with something to show: to list all is a right of its own."""
        if self._source.platform != _KUBERNETES:
            return _json([ALL])
        found = await self._source.resources()
        facts = (found.components, found.configurations, found.resiliencies)
        names = {one.namespace for each in facts for one in each}
        names |= {app.namespace for app in await self._source.apps()}
        return _json([ALL, *sorted(names)])

    async def version(self, request: web.Request) -> web.Response:
        return _json({"version": RUNTIME_VERSION, "runtimeVersion": await self._runtime()})

    async def _runtime(self) -> str:
        """In a cluster what its control plane's images say, as far as that may be seen."""
        if self._source.platform == _KUBERNETES:
            try:
                services = (await self._source.control_plane()).services
            except SourceError:
                services = ()
            return next((one.version for one in services if one.version), RUNTIME_VERSION)
        return RUNTIME_VERSION

    # --- instances --------------------------------------------------------------------------

    async def instances(self, request: web.Request) -> web.Response:
        apps = await self._facts.live(in_scope(request, await self._source.apps()))
        return _json([self._record(each) for each in grouped(apps)])

    async def instance(self, request: web.Request) -> web.Response:
        apps = await self._one(request)
        return _json(self._record(apps, manifest(apps[0]) if apps[0].pod else ""))

    def _record(self, apps: Sequence[App], manifest: str = "") -> records.Record:
        has_logs = bool(self._source.logs(apps[0]))
        return records.instance(apps, _now(), has_logs=has_logs, manifest=manifest)

    async def containers(self, request: web.Request) -> web.Response:
        return _json(list(self._source.logs((await self._one(request))[0])))

    async def deployment(self, request: web.Request) -> web.Response:
        apps = instance_of(request, await self._source.apps())
        if not apps[0].pod:
            raise web.HTTPNotFound(text="an app of this machine has no pod: see api/instances")
        return web.Response(text=manifest(apps[0]))

    async def metadata(self, request: web.Request) -> web.Response:
        apps = await self._one(request)
        told = next((app.live for app in apps if app.live.metadata), None)
        if told is None:
            live = apps[0].live
            raise SourceError(f"the sidecar's metadata: {live.problem or live.state}")
        return _json(records.metadata(told))

    async def _one(self, request: web.Request) -> list[App]:
        return await self._facts.live(instance_of(request, await self._source.apps()))

    # --- resources --------------------------------------------------------------------------

    async def components(self, request: web.Request) -> web.Response:
        found = in_scope(request, await self._components())
        return _json([records.component(one, _now()) for one in found])

    async def component(self, request: web.Request) -> web.Response:
        return _json(records.component(_named(request, await self._components()), _now()))

    async def _components(self) -> list[ComponentFact]:
        """Those that can be read; pages tell of the others."""
        return [one for one in (await self._source.resources()).components if one.manifest]

    async def configurations(self, request: web.Request) -> web.Response:
        found = in_scope(request, (await self._source.resources()).configurations)
        return _json([records.configuration(one, _now()) for one in found])

    async def configuration(self, request: web.Request) -> web.Response:
        found = (await self._source.resources()).configurations
        return _json(records.configuration(_named(request, found), _now()))

    async def control_plane(self, request: web.Request) -> web.Response:
        plane = await self._source.control_plane()
        return _json([records.service(one, _now()) for one in plane.services])


def _named(request: web.Request, found: Iterable[Fact]) -> Fact:
    """Raises ``HTTPNotFound``."""
    name = request.match_info["name"]
    chosen = [one for one in in_scope(request, found) if one.name == name]
    return all_of(chosen, f"{name} in {request.match_info['scope']}")[0]


def _now() -> datetime:
    return datetime.now(UTC)


def _json(value: Any) -> web.Response:
    return web.json_response(value, dumps=_dumps)


def _dumps(value: Any) -> str:
    # YAML has dates, and manifests are YAML.
    return json.dumps(value, ensure_ascii=False, default=str)
