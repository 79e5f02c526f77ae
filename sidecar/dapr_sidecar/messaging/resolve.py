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
        resolver = self.resolver
        if resolver is None:
            raise LookupError("name resolver not initialized")
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
