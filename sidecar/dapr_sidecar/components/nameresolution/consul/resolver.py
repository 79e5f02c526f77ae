"""The resolver: registers this sidecar, and finds others by their services' health."""

from __future__ import annotations

import os
import random
from dataclasses import replace

from dapr_common.observe.logs import get_logger
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.components.nameresolution.consul.agent import Agent, AgentError
from dapr_sidecar.components.nameresolution.consul.cache import ServiceCache
from dapr_sidecar.components.nameresolution.consul.environment import completed
from dapr_sidecar.components.nameresolution.consul.instances import addresses, endpoints
from dapr_sidecar.components.nameresolution.consul.registration import registered_id, registration
from dapr_sidecar.components.nameresolution.consul.settings import ConsulSettings, QueryOptions

_LOG = get_logger("dapr.contrib")


class ConsulResolver(Resolver):
    """Sidecars are found under their app id, wherever they registered; namespaces do not count."""

    settings = ConsulSettings

    def __init__(self, settings: ConsulSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._options = settings
        self._agent = Agent(completed(settings.client, os.environ))
        self._cache: ServiceCache | None = None
        self._service_id = ""
        if settings.use_cache:
            self._cache = ServiceCache(self._agent, settings.query, self._read_fresh)

    async def open(self) -> None:
        """Prepare the client; a wrong token file or certificate is told here."""
        await self._agent.open()

    async def register(self, instance: Instance) -> None:
        """Register as the settings say; otherwise ask whether the agent is there."""
        body = registration(self._options, instance)
        if body is None:
            await self._agent.check()
            return
        await self._agent.register(body)
        self._service_id = registered_id(body)
        _LOG.info("service:%s registered on consul agent", self._service_id)

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """A random healthy instance."""
        cache = self._cache
        if cache is None:
            found = await self._read(app_id, self._options.query)
        elif known := cache.pick(app_id):
            return known
        else:
            found = await self._read(app_id, self._options.query)
            cache.watch(app_id)
        return random.choice(found)  # noqa: S311 - spreads load

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        if self._cache is not None:
            self._cache.forget(app_id)

    async def withdraw(self) -> None:
        """Take the registration back when the settings say so."""
        service_id, self._service_id = self._service_id, ""
        if service_id and self._options.self_deregister:
            try:
                await self._agent.deregister(service_id)
            except AgentError as error:
                _LOG.warning("consul: %s stays registered: %s", service_id, error)

    async def close(self) -> None:
        await self.withdraw()
        if self._cache is not None:
            await self._cache.close()
        await self._agent.close()

    async def _read(self, app_id: str, options: QueryOptions) -> list[str]:
        """Addresses of the healthy instances. Raises ``LookupError``."""
        try:
            entries = await self._agent.healthy(app_id, options)
        except AgentError as error:
            raise LookupError(f"failed to query healthy consul services: {error}") from error
        return await addresses(endpoints(entries, app_id, self._options.port_key))

    async def _read_fresh(self, app_id: str) -> list[str]:
        """The same past the agent's cache, which may not have seen the change that led here."""
        options = replace(self._options.query, use_cache=False, wait_index=0, wait_hash="")
        entries = await self._agent.healthy(app_id, options)
        return await addresses(endpoints(entries, app_id, self._options.port_key))
