"""Which of several operators leads: whoever holds the Lease."""

from __future__ import annotations

from dapr_common.kube.client import KubeClient
from dapr_common.kube.lease import KubeLease, workload_as_owner
from dapr_common.lease import LeaderChanged, Lease
from dapr_operator.kinds import DEPLOYMENTS

NAME = "operator.dapr.io"
_DEPLOYMENT = "dapr-operator"


async def operators_lease(
    client: KubeClient, namespace: str, address: str, changed: LeaderChanged
) -> Lease:
    """``address`` is where this operator's API is, ``changed`` is told the leader's."""
    owners = await workload_as_owner(client, DEPLOYMENTS, "Deployment", _DEPLOYMENT, namespace)
    store = KubeLease(client, namespace, NAME, owners)
    return Lease(store, "operator", address=address, changed=changed)
