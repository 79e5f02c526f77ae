"""What an uninstall leaves behind."""

from __future__ import annotations

from cluster.kubectl import get
from cluster.release import NAMESPACE
from cluster.waiting import Until

# Namespaced kinds, then those of the whole cluster.
_IN_NAMESPACE = (
    *("deployments", "statefulsets", "jobs", "pods", "services", "secrets", "serviceaccounts"),
    *("configmaps", "leases", "roles", "rolebindings", "poddisruptionbudgets"),
    *("components", "configurations", "resiliencies", "subscriptions", "httpendpoints"),
)
_OF_CLUSTER = (
    *("clusterroles", "clusterrolebindings"),
    *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
)
# What every namespace has.
_ALWAYS = {"serviceaccounts/default", "configmaps/kube-root-ca.crt"}


def assert_nothing_is_left(until: Until) -> None:
    """Nothing but the kinds, and what users made of them."""
    until(lambda: not (names(*_IN_NAMESPACE, namespace=NAMESPACE) - _ALWAYS), 60, "all is gone")
    assert not {name for name in names(*_OF_CLUSTER) if "dapr" in name}
    assert not names("roles", "rolebindings", namespace="default")
    assert len([n for n in names("customresourcedefinitions") if n.endswith(".dapr.io")]) == 7


def names(*kinds: str, namespace: str = "") -> set[str]:
    """``kind/name`` of every object."""
    where = ("-n", namespace) if namespace else ()
    return {
        f"{kind}/{item['metadata']['name']}"
        for kind in kinds
        for item in get(kind, *where)["items"]
    }
