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
_ALWAYS = {"ServiceAccount/default", "ConfigMap/kube-root-ca.crt"}


def assert_nothing_is_left(until: Until) -> None:
    """Nothing but the kinds, and what users made of them."""
    until(lambda: not names("pods", namespace=NAMESPACE), 60, "every pod is gone")
    until(lambda: not names("leases", namespace=NAMESPACE), 60, "every Lease is gone")
    assert names(*_IN_NAMESPACE, namespace=NAMESPACE) - _ALWAYS == set()
    assert {name for name in names(*_OF_CLUSTER) if "dapr" in name} == set()
    assert names("roles", "rolebindings", namespace="default") == set()
    assert len([n for n in names("customresourcedefinitions") if n.endswith(".dapr.io")]) == 7


def names(*kinds: str, namespace: str = "") -> set[str]:
    """``Kind/name`` of every object."""
    where = ("-n", namespace) if namespace else ()
    found = get(",".join(kinds), *where)["items"]
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found}
