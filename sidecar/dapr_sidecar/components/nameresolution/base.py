"""Name resolvers: app id → address of its sidecar's internal gRPC server."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from dapr_sidecar.components.base import Component


@dataclass(frozen=True, slots=True)
class Instance:
    """This sidecar, as a resolver announces it."""

    app_id: str
    namespace: str
    host_address: str
    http_port: int
    internal_port: int
    app_port: int


class Resolver(Component):
    """Required of every name resolver. Settings come from the Configuration, not a manifest."""

    async def register(self, instance: Instance) -> None:
        """Announce this sidecar until ``withdraw``."""

    async def withdraw(self) -> None:
        """Take the announcement back; others are still found. ``close`` does it, too."""

    @abstractmethod
    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        """``host:port`` of one instance (IPv6 bracketed), or raise ``LookupError``."""

    def forget(self, app_id: str, namespace: str, address: str) -> None:
        """A call to this address failed; do not offer it from a cache again."""
