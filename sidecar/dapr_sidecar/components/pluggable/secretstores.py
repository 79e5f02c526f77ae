"""Secret stores in processes of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dapr_common.wire.dapr.proto.components.v1 import common_pb2
from dapr_common.wire.dapr.proto.components.v1 import secretstore_pb2 as pb
from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.plugged import Plugged, plugged
from dapr_sidecar.components.pluggable.services import SECRETS
from dapr_sidecar.components.secretstores.base import SecretStore


def secret_store_class(served: Iterable[str], link: Link) -> type[Component]:
    """The class of a secret store."""
    return plugged((PluggableSecretStore,), link)


class PluggableSecretStore(Plugged, SecretStore):
    """What is missing is the component's to say."""

    def __init__(self, settings: object, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._features: list[str] = []

    async def open(self) -> None:
        await super().open()
        request, answer = common_pb2.FeaturesRequest(), common_pb2.FeaturesResponse
        found = await self.link.call(SECRETS.method("Features"), request, answer)
        self._features = list(found.features)

    def capabilities(self) -> list[str]:
        return list(self._features)

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
        request = pb.GetSecretRequest(key=name, metadata=dict(metadata))
        found = await self.link.call(SECRETS.method("Get"), request, pb.GetSecretResponse)
        return dict(found.data)

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]] | None:
        request = pb.BulkGetSecretRequest(metadata=dict(metadata))
        found = await self.link.call(SECRETS.method("BulkGet"), request, pb.BulkGetSecretResponse)
        return {name: dict(secret.secrets) for name, secret in found.data.items()}
