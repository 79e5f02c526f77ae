"""``secretstores.kubernetes``: the Secrets of a cluster, read through its API server."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import SECRETS, KubeObject, Selection
from dapr_common.kube.login import Login, find_login
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import setting
from dapr_sidecar.components.secretstores.base import SecretStore

if TYPE_CHECKING:
    from dapr_common.kube.client import KubeClient


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
        self._environment = os.environ if environment is None else environment
        self._kubeconfig = settings.kubeconfig_path or self._environment.get("KUBECONFIG", "")
        self._namespace = context.namespace or settings.default_namespace
        self._login: Login | None = None
        self._client: KubeClient | None = None

    async def open(self) -> None:
        self._login = find_login(self._kubeconfig, self._environment)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]:
        namespace = self._of(metadata)
        try:
            return _texts(await self._connected().get(SECRETS, name, namespace))
        except NotFoundError as error:
            raise LookupError(f"secret {name} not found in namespace {namespace}") from error

    async def bulk_get(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
        listing = await self._connected().list_all(Selection(SECRETS, self._of(metadata)))
        return {secret["metadata"]["name"]: _texts(secret) for secret in listing.items}

    def _connected(self) -> KubeClient:
        if self._client is None:
            from dapr_common.kube.client import KubeClient  # an HTTP client most pods never need

            assert self._login is not None, "open comes first"
            self._client = KubeClient(self._login)
        return self._client

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
