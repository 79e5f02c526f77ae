"""What surrounds sentry: files of a machine, or a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from dapr_common.aio.run import FatalError
from dapr_common.observe.logs import get_logger
from dapr_sentry import configuration
from dapr_sentry.bundle_store import BundleStore
from dapr_sentry.configuration import Configuration, ConfigurationError
from dapr_sentry.settings import Settings

if TYPE_CHECKING:
    from dapr_common.kube.client import KubeClient

_LOG = get_logger("dapr.sentry")
_LOOKUP_SECONDS = 5.0
_KNOWN_SERVICE = "kubernetes.default.svc"


class Surroundings(ABC):
    """Where the certificate authority, the Configuration and the callers' proofs come from."""

    client: KubeClient | None = None
    store: BundleStore

    async def wait(self) -> None:
        """Until there is what may come after sentry."""

    @abstractmethod
    async def configuration(self) -> Configuration:
        """As it is now. Raises ``ConfigurationError``."""

    @abstractmethod
    async def cluster_domain(self) -> str:
        """What the DNS names of services end with."""

    async def close(self) -> None:
        """Free everything."""
        await self.store.close()


class Machine(Surroundings):
    """Standalone: files."""

    def __init__(self, settings: Settings) -> None:
        from dapr_sentry.file_store import FileBundleStore

        self._settings = settings
        self.store = FileBundleStore(
            settings.credentials, settings.files, beside=[Path(settings.config)]
        )

    async def configuration(self) -> Configuration:
        return configuration.load_file(self._settings.config)

    async def cluster_domain(self) -> str:
        return self._settings.identity.trust_domain


class Cluster(Surroundings):
    """Kubernetes: a Secret, a ConfigMap and a Configuration of the control plane's namespace."""

    client: KubeClient

    def __init__(self, settings: Settings) -> None:
        """Raises ``LoginError``."""
        from dapr_common.kube.client import KubeClient
        from dapr_common.kube.kinds import CONFIGURATIONS, Selection
        from dapr_common.kube.login import find_login
        from dapr_sentry.kubernetes_store import KubernetesStore

        self._settings = settings
        self.client = KubeClient(find_login(settings.kubeconfig))
        namespace = settings.identity.namespace
        self.store = KubernetesStore(
            self.client,
            namespace,
            settings.files.as_keys(),
            mounted=settings.credentials,
            beside=Selection(CONFIGURATIONS, namespace, fields=f"metadata.name={settings.config}"),
        )

    async def wait(self) -> None:
        from dapr_common.kube.awaited import control_plane_configuration

        settings = self._settings
        await control_plane_configuration(
            self.client, settings.config, settings.identity.namespace, _LOG
        )

    async def configuration(self) -> Configuration:
        from dapr_common.kube.api_errors import KubeError
        from dapr_common.kube.kinds import CONFIGURATIONS

        name, namespace = self._settings.config, self._settings.identity.namespace
        where = f"Configuration {name} in namespace {namespace}"
        try:
            found = await self.client.get(CONFIGURATIONS, name, namespace)
        except KubeError as error:
            raise ConfigurationError(f"error loading configuration: {where}: {error}") from error
        return configuration.from_spec(found.get("spec"), where)

    async def cluster_domain(self) -> str:
        """From the full name of a service that every cluster has; else the trust domain."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await loop.getaddrinfo(_KNOWN_SERVICE, None, flags=socket.AI_CANONNAME)
            name = found[0][3].rstrip(".")
            if name.startswith(f"{_KNOWN_SERVICE}."):
                return name.removeprefix(f"{_KNOWN_SERVICE}.")
        return self._settings.identity.trust_domain

    async def close(self) -> None:
        await super().close()
        await self.client.close()


def surroundings(settings: Settings) -> Surroundings:
    """What the mode asks for. Raises ``FatalError``."""
    if not settings.kubernetes:
        return Machine(settings)
    from dapr_common.kube.api_errors import LoginError

    try:
        return Cluster(settings)
    except LoginError as error:
        raise FatalError(str(error)) from error
