"""What a sidecar in a cluster has of it: the operator's resources, the cluster's secrets."""

from __future__ import annotations

from collections.abc import Mapping

from dapr_common.kube.resources import Component
from dapr_sidecar.options import Options
from dapr_sidecar.runtime.operator_client import OperatorClient
from dapr_sidecar.runtime.operator_source import OperatorSource
from dapr_sidecar.runtime.security import SidecarSecurity
from dapr_sidecar.runtime.status_reports import StatusReports
from dapr_sidecar.runtime.statuses import StatusBook

# The operator fills in values from the cluster's secrets, so the sidecar does well without it.
_SECRET_STORE = Component("kubernetes", "secretstores.kubernetes", ignore_errors=True)


class Cluster:
    """Lives from one start of the sidecar to its stop."""

    def __init__(
        self, options: Options, environment: Mapping[str, str], security: SidecarSecurity
    ) -> None:
        self._client = OperatorClient(
            options.control_plane_address, options.namespace or "default", security
        )
        self._pod = environment.get("POD_NAME", "")
        self.source = OperatorSource(
            self._client,
            app_id=options.app_id,
            configuration_name=next(iter(options.config_paths), ""),
            builtin=_SECRET_STORE if options.builtin_secret_store else None,
            interval=options.reconcile_interval,
        )

    def reports(self, book: StatusBook) -> StatusReports:
        """What tells the operator about this sidecar's resources."""
        return StatusReports(self._client, book, self._pod)

    async def close(self) -> None:
        """Leave the operator."""
        await self._client.close()
