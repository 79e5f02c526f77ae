"""What the Configuration of the control plane says: its trust domain, and where sentry is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIGURATIONS
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.operator")
_LOOK_SECONDS = 1.0
_TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """``spec.mtls`` of ``daprsystem``, as far as an identity needs it."""

    trust_domain: str
    sentry_address: str
    """Empty is where the chart has it."""


async def control_plane(client: KubeClient, name: str, namespace: str) -> ControlPlane:
    """Read it; wait while it is not there: a chart's objects come in any order."""
    said = ""
    where = f"Configuration {name} in namespace {namespace}"
    while True:
        try:
            found = await client.get(CONFIGURATIONS, name, namespace)
        except NotFoundError:
            why = "it does not exist: install it with the Helm chart, or name it with --config"
        except KubeError as error:
            why = str(error)
        else:
            return _read(found.get("spec"))
        if why != said:
            _LOG.warning("Waiting for %s: %s", where, why)
        said = why
        await asyncio.sleep(_LOOK_SECONDS)


def _read(spec: object) -> ControlPlane:
    mtls: object = spec.get("mtls") if isinstance(spec, Mapping) else None
    found: Mapping[str, Any] = mtls if isinstance(mtls, Mapping) else {}
    return ControlPlane(
        trust_domain=str(found.get("controlPlaneTrustDomain") or _TRUST_DOMAIN),
        sentry_address=str(found.get("sentryAddress") or ""),
    )
