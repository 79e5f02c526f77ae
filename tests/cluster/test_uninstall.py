"""An uninstall leaves the kinds, and what users made of them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from cluster.applications import Space, component
from cluster.kubectl import get
from cluster.release import NAMESPACE, Release

Until = Callable[[Callable[[], bool], float, str], float]
# Namespaced kinds, then those of the whole cluster.
_IN_NAMESPACE = (
    *("deployments", "statefulsets", "jobs", "pods", "services", "secrets", "serviceaccounts"),
    *("configmaps", "leases", "roles", "rolebindings", "poddisruptionbudgets"),
)
_OF_CLUSTER = (
    *("clusterroles", "clusterrolebindings"),
    *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
)
# What every namespace has.
_ALWAYS = {"serviceaccounts/default", "configmaps/kube-root-ca.crt"}


def test_nothing_is_left_but_the_kinds(release: Release, space: Space, until: Until) -> None:
    space.apply(component("memory", "state.in-memory"))
    space.app("app")
    until(lambda: space.exists("service", "app-dapr"), 10, "the Service is made")

    release.uninstall()

    until(lambda: not (_names(*_IN_NAMESPACE, namespace=NAMESPACE) - _ALWAYS), 60, "all is gone")
    assert not {name for name in _names(*_OF_CLUSTER) if "/dapr-" in name}
    assert not space.exists("service", "app-dapr")
    assert not _names("roles", "rolebindings", namespace="default")
    assert space.exists("component", "memory")
    assert len([n for n in _names("customresourcedefinitions") if n.endswith(".dapr.io")]) == 7


def _names(*kinds: str, namespace: str = "") -> set[str]:
    where = ("-n", namespace) if namespace else ()
    return {
        f"{kind}/{item['metadata']['name']}"
        for kind in kinds
        for item in get(kind, *where)["items"]
    }
