"""Which of several operators leads: whoever holds the Lease."""

from __future__ import annotations

from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import KubeObject
from dapr_common.kube.lease import KubeLease
from dapr_common.lease import LeaderChanged, Lease
from dapr_operator.kinds import DEPLOYMENTS

NAME = "operator.dapr.io"
_DEPLOYMENT = "dapr-operator"


async def operators_lease(
    client: KubeClient, namespace: str, address: str, changed: LeaderChanged
) -> Lease:
    """``address`` is where this operator's API is, ``changed`` is told the leader's."""
    store = KubeLease(client, namespace, NAME, await _owners(client, namespace))
    return Lease(store, "operator", address=address, changed=changed)


async def _owners(client: KubeClient, namespace: str) -> list[KubeObject]:
    """The operator's Deployment, so that its Lease is gone after an uninstall."""
    try:
        found = await client.get(DEPLOYMENTS, _DEPLOYMENT, namespace)
    except KubeError:
        return []
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": _DEPLOYMENT,
            "uid": found["metadata"]["uid"],
        }
    ]
