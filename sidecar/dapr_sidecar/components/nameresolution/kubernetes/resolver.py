"""The resolver: the addresses behind the headless service that the operator makes for an app."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from dataclasses import dataclass

from dapr_common.aio.host import join_host_port
from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.nameresolution.base import Resolver
from dapr_sidecar.components.nameresolution.kubernetes.cache import AddressLists, Key
from dapr_sidecar.components.nameresolution.kubernetes.template import AddressTemplate, Target

_LOG = get_logger("dapr.contrib")
_LOOKUP_SECONDS = 10.0
_HOST_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:/]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesResolverSettings:
    """Settings of the resolver."""

    cluster_domain: str = setting(
        "clusterDomain", default="cluster.local", help="DNS domain of the cluster"
    )
    template: str = setting(
        "template",
        default="",
        help="the address instead of that of the app's service, made of {{.ID}}, "
        "{{.Namespace}} and {{.Port}}",
    )


class KubernetesResolver(Resolver):
    """Everybody's port is the caller's own internal gRPC port, unless a template says otherwise."""

    settings = KubernetesResolverSettings

    def __init__(self, settings: KubernetesResolverSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        domain = settings.cluster_domain.strip(".")
        self._template = AddressTemplate(
            settings.template or "{{.ID}}-dapr.{{.Namespace}}.svc." + domain + ":{{.Port}}"
        )
        self._lists = AddressLists()
        self._lookups: dict[Key, asyncio.Task[list[str]]] = {}

    async def open(self) -> None:
        """Nothing is asked before the first call."""
        if self._template.uses_data:
            _LOG.warning("nameresolution.kubernetes: the template's Data has no entries here")

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """Any of the addresses; the list is kept for 20 seconds."""
        key = (namespace, app_id)  # the port is that of this sidecar, always the same
        if known := self._lists.pick(key, asyncio.get_running_loop().time()):
            return known
        task = self._lookups.get(key)
        if task is None:
            address = self._template.render(Target(app_id, namespace, port))
            task = asyncio.get_running_loop().create_task(self._look_up(key, address))
            self._lookups[key] = task
            task.add_done_callback(lambda done: self._looked_up(key, done))
        await asyncio.wait([task])  # a caller that gives up does not end the lookup of the others
        if task.cancelled():
            raise LookupError(f"lookup of {app_id}: the name resolver was closed meanwhile")
        return random.choice(task.result())  # noqa: S311 - spreads load

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        self._lists.drop((namespace, app_id))

    async def close(self) -> None:
        """End the lookups under way."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _looked_up(self, key: Key, task: asyncio.Task[list[str]]) -> None:
        self._lookups.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to who waits, if anybody still does

    async def _look_up(self, key: Key, address: str) -> list[str]:
        """``ip:port`` of everything a name stands for. Raises ``LookupError``."""
        found = await _addresses(address)
        self._lists.put(key, found, asyncio.get_running_loop().time())
        return found


async def _addresses(address: str) -> list[str]:
    parts = _HOST_PORT.fullmatch(address)
    if parts is None:
        return [address]  # some other target a template makes: dialled as it is
    host, port = parts[1] or parts[2], int(parts[3])
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise LookupError(f"lookup {host}: no answer within {_LOOKUP_SECONDS:g} s") from error
    except (OSError, UnicodeError) as error:
        raise LookupError(f"lookup {host}: {getattr(error, 'strerror', None) or error}") from error
    return list(dict.fromkeys(join_host_port(str(info[4][0]), port) for info in infos))
