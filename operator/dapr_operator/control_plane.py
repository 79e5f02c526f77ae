"""What the Configuration of the control plane says: its trust domain, and where sentry is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.awaited import control_plane_configuration
from dapr_common.kube.client import KubeClient
from dapr_common.observe.logs import get_logger

_LOG = get_logger("dapr.operator")
_TRUST_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """``spec.mtls`` of ``daprsystem``, as far as an identity needs it."""

    trust_domain: str
    sentry_address: str
    """Empty is where the chart has it."""


async def control_plane(client: KubeClient, name: str, namespace: str) -> ControlPlane:
    """Read it, as soon as it is there."""
    found = await control_plane_configuration(client, name, namespace, _LOG)
    return _read(found.get("spec"))


def _read(spec: object) -> ControlPlane:
    mtls: object = spec.get("mtls") if isinstance(spec, Mapping) else None
    found: Mapping[str, Any] = mtls if isinstance(mtls, Mapping) else {}
    return ControlPlane(
        trust_domain=str(found.get("controlPlaneTrustDomain") or _TRUST_DOMAIN),
        sentry_address=str(found.get("sentryAddress") or ""),
    )
