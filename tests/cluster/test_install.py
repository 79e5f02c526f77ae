"""The first installation of a cluster: no kinds, no namespace, nothing of ours was ever there."""

from __future__ import annotations

from cluster.figures import Figures
from cluster.kubectl import get, kubectl
from cluster.release import DEPLOYMENTS, NAMESPACE, Release, pods


def test_the_first_one_starts_nothing_twice(shared_release: Release, figures: Figures) -> None:
    if shared_release.is_installed():
        shared_release.uninstall()
    kinds = [each["metadata"]["name"] for each in get("customresourcedefinitions")["items"]]
    if ours := [name for name in kinds if name.endswith(".dapr.io")]:
        kubectl("delete", "customresourcedefinitions", *ours)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")

    shared_release.install()

    figures.add("helm install --wait, s", shared_release.seconds)
    for name in DEPLOYMENTS:
        (pod,) = pods(name)
        (status,) = pod["status"]["containerStatuses"]
        assert status["ready"], shared_release.report()
        assert status["restartCount"] == 0, shared_release.report()
