"""``secretstores.kubernetes``: the Secrets of a cluster, read through its API server."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import SECRETS, KubeObject, Selection
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.kubernetes import ClusterAccess
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.secretstores.base import SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Settings of ``secretstores.kubernetes``."""

    default_namespace: str = setting(
        "defaultNamespace", default="", help="used when neither the request nor the pod has one"
    )
    kubeconfig_path: str = setting(
        "kubeconfigPath", default="", help="kubeconfig file to use outside a cluster"
    )


class KubernetesSecretStore(SecretStore):
    """One secret is one Secret with all of its keys."""

    settings: ClassVar[type[Any]] = KubernetesSettings

    def __init__(
        self,
        settings: KubernetesSettings,
        context: ComponentContext,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(settings, context)
        self._cluster = ClusterAccess(settings.kubeconfig_path, environment)
        self._namespace = context.namespace or settings.default_namespace

    async def open(self) -> None:
        self._cluster.open()

    async def close(self) -> None:
        await self._cluster.close()

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        namespace = self._of(metadata)
        try:
            return _texts(await self._cluster.client().get(SECRETS, name, namespace))
        except NotFoundError as error:
            raise LookupError(f"secret {name} not found in namespace {namespace}") from error

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        listing = await self._cluster.client().list_all(Selection(SECRETS, self._of(metadata)))
        return {secret["metadata"]["name"]: _texts(secret) for secret in listing.items}

    def _of(self, metadata: Mapping[str, str]) -> str:
        namespace = metadata.get("namespace") or self._namespace
        if not namespace:
            raise ValueError(
                "namespace is missing: give metadata.namespace, NAMESPACE or defaultNamespace"
            )
        return namespace


def _texts(secret: KubeObject) -> dict[str, str]:
    """Bytes as text; what is no UTF-8 must not break the answer."""
    data = secret.get("data") or {}
    return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()}
