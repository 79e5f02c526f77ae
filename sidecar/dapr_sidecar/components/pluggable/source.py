"""From a manifest to the process that serves it: its socket is waited for, and asked what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.resources import Component as Manifest
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import Component
from dapr_sidecar.components.pluggable.bindings import binding_class
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.pubsub import bus_class
from dapr_sidecar.components.pluggable.reflection import NoReflectionError, served_services
from dapr_sidecar.components.pluggable.secretstores import secret_store_class
from dapr_sidecar.components.pluggable.services import INPUT, KINDS, OUTPUT, Service
from dapr_sidecar.components.pluggable.sockets import SocketFolder
from dapr_sidecar.components.pluggable.state import store_class
from dapr_sidecar.components.registry import UnknownComponentError

_LOG = get_logger("dapr.runtime.pluggable")
_CONNECT_SECONDS = 5.0
_MAKERS: Mapping[str, Callable[[Any, Link], type[Component]]] = {
    "state": store_class,
    "pubsub": bus_class,
    "bindings": binding_class,
    "secretstores": secret_store_class,
}
# Metadata that the sidecar adds, in the spelling that components look for.
_ADDED = {"consumerid": "consumerID"}


class PluggableSource:
    """Where the class of one manifest comes from; ``unknown`` is how the type is reported."""

    def __init__(self, folder: SocketFolder, manifest: Manifest, unknown: str) -> None:
        self._folder = folder
        self._manifest = manifest
        self._unknown = unknown
        self.missing = unknown
        """Why there is no class yet."""

    async def kind(self, properties: Mapping[str, str]) -> type[Component]:
        """Waits until the socket serves; the caller bounds that. Raises what cannot mend itself."""
        manifest = self._manifest
        socket, served = await self._reach(manifest.type.partition(".")[2])
        wanted = KINDS[manifest.category]
        services = [one for one in wanted if one.full_name in served]
        if not services:
            needed = " or ".join(one.full_name for one in wanted)
            has = ", ".join(sorted(served)) or "nothing"
            raise UnknownComponentError(
                f"{self._unknown}: {socket} does not serve {needed}; it serves {has}"
            )
        services = _narrowed(services, properties.get("direction", ""))
        served = served - {one.full_name for one in wanted if one not in services}
        _LOG.info("component %s is pluggable: %s", manifest.log_name, socket)
        link = Link(socket, manifest.name, _as_spelled(manifest, properties), services)
        return _MAKERS[manifest.category](served, link)

    async def _reach(self, name: str) -> tuple[Path, frozenset[str]]:
        pause = Backoff(0.05, 0.5)
        while True:
            socket = self._folder.find(name)
            if socket is None:
                self.missing = (
                    f"{self._unknown}: it does not come with the sidecar, and "
                    f"{self._folder.path} has no socket {name}.sock"
                )
            else:
                try:
                    return socket, await _services_of(socket)
                except NoReflectionError as error:
                    raise UnknownComponentError(f"{self._unknown}: {socket}: {error}") from error
                except RpcError as error:
                    if error.code is not GrpcCode.UNAVAILABLE:
                        raise
                    self.missing = f"{self._unknown}: {error.message}"
            await asyncio.sleep(pause.next())


async def _services_of(socket: Path) -> frozenset[str]:
    channel = GrpcChannel(f"unix:{socket}", connect_timeout=_CONNECT_SECONDS)
    try:
        return await served_services(channel)
    finally:
        await channel.close()


def _narrowed(services: Sequence[Service], direction: str) -> list[Service]:
    """The ways of a binding that the manifest wants; all when it wants none of them."""
    words = {word.strip().lower() for word in direction.split(",")}
    named = {INPUT: "input", OUTPUT: "output"}
    return [one for one in services if named.get(one) in words] or list(services)


def _as_spelled(manifest: Manifest, properties: Mapping[str, str]) -> dict[str, str]:
    """Metadata under the manifest's own names: the component may know no others."""
    spelled = {entry.name.lower(): entry.name for entry in manifest.metadata}
    return {spelled.get(n) or _ADDED.get(n, n): value for n, value in properties.items()}
