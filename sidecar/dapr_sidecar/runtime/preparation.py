"""Everything a sidecar needs before it can load and listen: identity, Configuration, resources."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dapr_common.aio.host import host_address
from dapr_common.kube.resources import Configuration
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.assembly import Sidecar
from dapr_sidecar.runtime.configuration import load_files
from dapr_sidecar.runtime.disk import DiskSource, ResourceDirectories
from dapr_sidecar.runtime.resources import Resources, Source

if TYPE_CHECKING:
    from dapr_sidecar.runtime.cluster import Cluster
    from dapr_sidecar.runtime.security import SidecarSecurity


class MissingDirectoryError(Exception):
    """A directory of resources is not there, or is none."""

    def __init__(self, path: str) -> None:
        why = "not a directory" if os.path.exists(path) else "no such file or directory"  # noqa: PTH110
        super().__init__(f"failed to load resources: {path}: {why}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sidecar that has loaded nothing yet, and what it is to load."""

    sidecar: Sidecar
    source: Source
    resources: Resources
    cluster: Cluster | None = None


class Preparation:
    """One per process: the identity outlives a sidecar that starts over."""

    def __init__(
        self,
        options: Options,
        environment: MutableMapping[str, str],
        ask_to_stop: Callable[[bool], None],
    ) -> None:
        self._options = options
        self._environment = environment
        self._ask_to_stop = ask_to_stop
        self._identified = False
        self._cluster: Cluster | None = None
        self.security: SidecarSecurity | None = None

    async def run(self) -> Prepared:
        """Raises what is wrong with settings or files, ``IdentityError`` or ``SourceError``."""
        self._make_security()
        if self._options.mode == "kubernetes":
            return await self._from_operator()
        return await self._from_disk()

    def check_configuration(self) -> None:
        """Raise ``ConfigurationError`` when the files could not be used now."""
        if self._options.mode != "kubernetes":
            self._read_configuration()

    async def close(self) -> None:
        """Leave the operator."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.close()

    async def _from_disk(self) -> Prepared:
        """What is wrong with the files is told before anybody waits for an identity."""
        options = self._options
        configuration = self._read_configuration()
        for path in options.resources_paths:
            if not os.path.isdir(path):  # noqa: ASYNC240, PTH112 - a name as it was given, at start
                raise MissingDirectoryError(path)
        sidecar = self._build(configuration)
        await self._get_identity()
        source = DiskSource(
            ResourceDirectories(
                options.resources_paths,
                options.app_id,
                options.namespace,
                expected=() if options.python_folders is None else (".py",),
            ),
            configuration,
            options.config_paths,
            self._environment,
            options.reconcile_interval,
        )
        return Prepared(sidecar, source, source.read())

    async def _from_operator(self) -> Prepared:
        from dapr_sidecar.runtime.cluster import Cluster  # only in Kubernetes

        await self._get_identity()
        assert self.security is not None
        cluster = self._cluster = Cluster(self._options, self._environment, self.security)
        resources = await cluster.source.load()
        sidecar = self._build(resources.configuration)
        return Prepared(sidecar, cluster.source, resources, cluster)

    def _build(self, configuration: Configuration) -> Sidecar:
        options = self._options
        identity = SidecarIdentity(
            app_id=options.app_id,
            namespace=options.namespace,
            invocation_namespace=options.namespace if options.namespace_set else "default",
            host_address=host_address(self._environment),
            hostname=socket.gethostname(),
            app_port=options.app_port,
        )
        self._environment.update(_described_by_variables(options, identity.host_address))
        return Sidecar(
            options, identity, configuration, self._environment, self._ask_to_stop, self.security
        )

    def _read_configuration(self) -> Configuration:
        return load_files(self._options.config_paths, self._environment)

    def _make_security(self) -> None:
        """In a cluster there is an identity for the control plane even when peers want none."""
        options = self._options
        if self.security is not None or not (options.enable_mtls or options.mode == "kubernetes"):
            return
        from dapr_sidecar.runtime.security import SidecarSecurity  # X.509 costs memory

        self.security = SidecarSecurity(options, self._environment)

    async def _get_identity(self) -> None:
        """Once in the life of the process: starting over is no reason for another key."""
        if self.security is not None and not self._identified:
            await self.security.source.fetch_initial()
            self._identified = True


def _described_by_variables(options: Options, host_address: str) -> Mapping[str, str]:
    """What components may read of this sidecar in the environment, as they can in Dapr."""
    return {
        "APP_ID": options.app_id,
        "APP_PORT": str(options.app_port or ""),
        "HOST_ADDRESS": host_address,
        "DAPR_PORT": str(options.internal_port or ""),
        "DAPR_GRPC_PORT": str(options.grpc_port),
        "DAPR_HTTP_PORT": str(options.http_port),
        "DAPR_METRICS_PORT": str(options.metrics_port),
    }
