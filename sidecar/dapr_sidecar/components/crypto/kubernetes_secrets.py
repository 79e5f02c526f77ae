"""``crypto.dapr.kubernetes.secrets``: keys in Kubernetes Secrets, as PEM or JSON Web Keys."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dapr_common.kube.api_errors import ForbiddenError, KubeError, LoginError, NotFoundError
from dapr_common.kube.kinds import SECRETS
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.key_holder import KeyHolder
from dapr_sidecar.components.crypto.keys import Key, KeyUseError, parse_key
from dapr_sidecar.components.kubernetes import ClusterAccess
from dapr_sidecar.components.metadata import SettingsError, setting

_NOTHING = "dapr-is-the-api-server-there"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ENTRY = re.compile(r"[A-Za-z0-9._-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesCryptoSettings:
    """Settings of ``crypto.dapr.kubernetes.secrets``."""

    default_namespace: str = setting(
        "defaultNamespace",
        default="",
        help="namespace of keys that are named without one; the pod's own",
    )
    kubeconfig_path: str = setting(
        "kubeconfigPath", default="", help="kubeconfig file to use outside a cluster"
    )


class KubernetesCrypto(KeyHolder):
    """A key is named `secret/key` or `namespace/secret/key`, and read whenever it is used."""

    settings: ClassVar[type[Any]] = KubernetesCryptoSettings

    def __init__(
        self,
        settings: KubernetesCryptoSettings,
        context: ComponentContext,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(settings, context)
        if settings.default_namespace and not _NAMESPACE.fullmatch(settings.default_namespace):
            raise SettingsError(
                f"invalid metadata field 'defaultNamespace': '{settings.default_namespace}': "
                "expected the name of a namespace"
            )
        self._namespace = settings.default_namespace or context.namespace
        self._kubeconfig = settings.kubeconfig_path
        self._cluster = ClusterAccess(settings.kubeconfig_path, environment)

    async def open(self) -> None:
        try:
            self._cluster.open()
        except LoginError as error:
            if not self._kubeconfig:
                raise
            raise SettingsError(f"invalid metadata field 'kubeconfigPath': {error}") from error

    async def close(self) -> None:
        await self._cluster.close()

    async def ping(self) -> None:
        if self._namespace:
            # Whether that is there does not matter, nor whether we may know: somebody answered.
            with contextlib.suppress(NotFoundError, ForbiddenError):
                await self._cluster.client().get(SECRETS, _NOTHING, self._namespace)

    async def _key(self, name: str) -> Key:
        namespace, secret, entry = self._place(name)
        try:
            found = await self._cluster.client().get(SECRETS, secret, namespace)
        except NotFoundError as error:
            raise KeyUseError(
                f"key '{name}': there is no secret '{secret}' in namespace '{namespace}'"
            ) from error
        except KubeError as error:
            raise KeyUseError(f"key '{name}' cannot be read: {error}") from error
        text = (found.get("data") or {}).get(entry)
        if text is None:
            raise KeyUseError(f"key '{name}': secret '{secret}' has no key '{entry}'")
        return parse_key(base64.b64decode(text))

    def _place(self, name: str) -> tuple[str, str, str]:
        """Namespace, secret and the secret's key. Raises ``KeyUseError``."""
        parts = name.split("/")
        if len(parts) == 2:
            parts.insert(0, self._namespace)
        if len(parts) != 3 or not (_SECRET.fullmatch(parts[1]) and _ENTRY.fullmatch(parts[2])):
            raise KeyUseError(
                f"invalid key name '{name}': expected secret/key or namespace/secret/key"
            )
        if not _NAMESPACE.fullmatch(parts[0]):
            raise KeyUseError(
                f"invalid key name '{name}': its namespace is missing or wrong: expected "
                "namespace/secret/key, or 'defaultNamespace' in the component's metadata"
            )
        return parts[0], parts[1], parts[2]
