"""The name resolver of this sidecar: opened, announced through, exchanged while calls run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings, unknown_names
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.components.registry import component_class
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options

_LOG = get_logger("dapr.runtime")
_LOOPBACKS = ("127.0.0.1", "localhost", "::1", "[::1]")
_DEFAULTS = {"standalone": "mdns", "kubernetes": "kubernetes"}  # by --mode


class Naming:
    """Holds the resolver that ``spec.nameResolution`` names; one that fails is reported only."""

    def __init__(self, identity: SidecarIdentity, options: Options) -> None:
        self._identity = identity
        self._options = options
        self._section: Mapping[str, Any] = {}
        self.resolver: Resolver | None = None

    async def start(self, section: Mapping[str, Any]) -> None:
        """Open the resolver and announce this sidecar."""
        self._section = section
        try:
            self.resolver = await self._open(section)
        except Exception as error:  # noqa: BLE001 - whatever a component does, the rest works
            _LOG.error("name resolution could not be started, invocation will fail: %s", error)

    async def change(self, section: Mapping[str, Any]) -> Resolver | None:
        """Another resolver in place of the one in use, which is given back to be closed.

        One that cannot be started leaves the one in use working.
        """
        if section == self._section:
            return None
        before = self.resolver
        if before is not None:
            await before.withdraw()  # a second announcement of one instance would be in the way
        try:
            self.resolver = await self._open(section)
        except Exception as error:  # noqa: BLE001 - whatever a component does, the rest works
            _LOG.error("name resolution is not changed: %s", error)
            if before is not None:
                await before.register(self._instance())
            return None
        self._section = section
        return before

    async def withdraw(self) -> None:
        """Have nobody find this sidecar any more."""
        if self.resolver is not None:
            await self.resolver.withdraw()

    async def close(self) -> None:
        """Close the resolver."""
        if self.resolver is not None:
            await self.resolver.close()

    async def _open(self, section: Mapping[str, Any]) -> Resolver:
        identity = self._identity
        name = str(section.get("component") or _DEFAULTS[self._options.mode])
        version = str(section.get("version") or "v1")
        found = component_class(f"nameresolution.{name}", version)
        properties = _properties(section.get("configuration") or {})
        for unknown, near in unknown_names(found.settings, properties).items():
            hint = "" if near is None else f", did you mean '{near}'?"
            _LOG.warning("name resolution: %s: '%s' is not known%s", name, unknown, hint)
        settings = decode_settings(found.settings, properties)
        context = ComponentContext(name, identity.app_id, identity.invocation_namespace, properties)
        resolver = found(settings, context)
        if not isinstance(resolver, Resolver):
            raise TypeError(f"{name} is no name resolver")
        try:
            await resolver.open()
            await resolver.register(self._instance())
        except BaseException:
            await resolver.close()
            raise
        _LOG.info("Initialized name resolution to %s", name)
        return resolver

    def _instance(self) -> Instance:
        identity, listen = self._identity, self._options.internal_listen_address
        return Instance(
            app_id=identity.app_id,
            namespace=identity.invocation_namespace,
            host_address=listen.strip("[]") if listen in _LOOPBACKS else identity.host_address,
            http_port=identity.http_port,
            internal_port=identity.internal_port,
            app_port=identity.app_port,
        )


def _properties(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Settings as texts; what is not a text is written as JSON."""
    return {
        str(key).lower(): value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in configuration.items()
        if value is not None
    }
