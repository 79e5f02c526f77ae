"""From app id to the address of its sidecar, by whatever resolver is configured."""

from __future__ import annotations

import asyncio

from dapr_sidecar.components.nameresolution.base import Resolver

_EMPTY_TRIES, _EMPTY_PAUSE = 5, 0.1


class AddressBook:
    """Asks the resolver; ``resolver`` is ``None`` when it could not be started."""

    def __init__(self) -> None:
        self.resolver: Resolver | None = None
        self.port = 0
        """The own internal port, which some resolvers take for everybody's."""

    async def find(self, app_id: str, namespace: str) -> str:
        """``host:port`` of one instance. Raises ``LookupError``."""
        while (resolver := self.resolver) is not None:
            try:
                return await self._ask(resolver, app_id, namespace)
            except LookupError:
                if resolver is self.resolver:
                    raise
                # Another one took its place meanwhile: what the old one says does not count.
        raise LookupError("name resolver not initialized")

    async def _ask(self, resolver: Resolver, app_id: str, namespace: str) -> str:
        address = await resolver.resolve(app_id, namespace, self.port)
        if address:
            return address
        for _ in range(_EMPTY_TRIES):
            await asyncio.sleep(_EMPTY_PAUSE)
            if address := await resolver.resolve(app_id, namespace, self.port):
                return address
        raise LookupError(f"resolver returned empty address for app id {namespace}/{app_id}")

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        """This address did not answer."""
        if self.resolver is not None:
            self.resolver.forget(app_id, namespace, address)
