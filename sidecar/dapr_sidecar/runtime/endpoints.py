"""HTTPEndpoint resources with their references filled in; one that is wrong is not used."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from dapr_common.kube.resources import HttpEndpoint, NameValue
from dapr_common.observe.logs import get_logger
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.runtime.statuses import StatusBook
from dapr_sidecar.runtime.templates import TemplateError

_LOG = get_logger("dapr.runtime")
_KIND = "HTTPEndpoint"

ResolveValue = Callable[[HttpEndpoint, NameValue], Awaitable[NameValue]]
"""Gives the entry with its final value; ``value=None`` when there is none."""


class EndpointSet:
    """Owns ``context.components.http_endpoints``."""

    def __init__(
        self, context: SidecarContext, resolve: ResolveValue, statuses: StatusBook
    ) -> None:
        self._context = context
        self._resolve = resolve
        self._statuses = statuses
        self._found: Sequence[HttpEndpoint] = ()

    async def take(self, found: Sequence[HttpEndpoint]) -> None:
        """Use these and no others."""
        if found != self._found:
            self._found = list(found)
            await self.resolve_again()

    async def resolve_again(self) -> None:
        """References may lead elsewhere now: a secret store came or changed."""
        found = self._found
        endpoints: dict[str, HttpEndpoint] = {}
        for endpoint in found:
            try:
                endpoints[endpoint.name] = await resolve_endpoint(endpoint, self._resolve)
            except TemplateError as error:
                _LOG.error("HTTPEndpoint %s is not used: %s", endpoint.name, error)
                self._statuses.set(_KIND, endpoint.name, "failed", str(error))
            else:
                self._statuses.set(_KIND, endpoint.name, "loaded")
        self._statuses.keep(_KIND, [endpoint.name for endpoint in found])
        if found is self._found:  # not overtaken while a secret store was asked
            self._context.components.http_endpoints = endpoints


async def resolve_endpoint(endpoint: HttpEndpoint, resolve: ResolveValue) -> HttpEndpoint:
    """The endpoint as calls use it; headers without a value are left out."""

    async def single(entry: NameValue | None) -> NameValue | None:
        return None if entry is None else await resolve(endpoint, entry)

    headers = [await resolve(endpoint, entry) for entry in endpoint.headers]
    return dataclasses.replace(
        endpoint,
        headers=tuple(header for header in headers if header.value is not None),
        root_ca=await single(endpoint.root_ca),
        certificate=await single(endpoint.certificate),
        private_key=await single(endpoint.private_key),
    )
