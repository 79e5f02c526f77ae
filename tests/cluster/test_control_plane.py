"""The control plane that the chart installs is confined, and keeps its authority."""

from __future__ import annotations

import pytest
from cluster.kubectl import CommandError, get, kubectl
from cluster.release import DEPLOYMENTS, NAMESPACE, Release, pods, rollout
from cluster.waiting import Until


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_programs_are_nobody_and_can_write_nothing(release: Release, name: str) -> None:
    script = "id -u; grep CapEff /proc/1/status; touch /opt/code/x 2>&1 || true"
    said = kubectl("exec", "-n", NAMESPACE, f"deploy/{name}", "--", "sh", "-c", script)
    assert said.splitlines()[0] == "65532"
    assert "CapEff:\t0000000000000000" in said
    assert "Read-only file system" in said


def test_an_upgrade_keeps_the_authority(release: Release) -> None:
    before = get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"]
    anchors = get("configmap", "dapr-trust-bundle", "-n", NAMESPACE)["data"]["ca.crt"]
    release.upgrade(global__logAsJson=True)
    try:
        assert get("secret", "dapr-trust-bundle", "-n", NAMESPACE)["data"] == before
        assert get("configmap", "dapr-trust-bundle", "-n", NAMESPACE)["data"]["ca.crt"] == anchors
        webhook = get("mutatingwebhookconfiguration", "dapr-sidecar-injector")["webhooks"][0]
        assert webhook["clientConfig"]["caBundle"]
        log = kubectl("logs", "-n", NAMESPACE, "deploy/dapr-sentry", "--tail=1")
        assert log.startswith("{")
    finally:
        release.upgrade()


def test_high_availability_is_three_of_each(release: Release, until: Until) -> None:
    release.upgrade(global__ha__enabled=True)
    try:
        for name in DEPLOYMENTS:
            rollout(f"deployment/{name}")
            until(lambda name=name: len(pods(name)) == 3, 60, f"{name} is three")

        def healthy() -> bool:
            budgets = get("poddisruptionbudgets", "-n", NAMESPACE)["items"]
            return len(budgets) >= 3 and all(
                budget.get("status", {}).get("currentHealthy") == 3 for budget in budgets
            )

        # A controller of the cluster counts them, after each became ready.
        until(healthy, 60, "every budget counts three")
    finally:
        release.upgrade()


@pytest.mark.parametrize(
    ("account", "verb", "what", "allowed"),
    [
        ("dapr-sentry", "get", "secrets/dapr-trust-bundle", True),
        ("dapr-sentry", "get", "secrets/another", False),
        ("dapr-sentry", "list", "secrets", False),
        ("dapr-injector", "get", "secrets", False),
        ("dapr-injector", "delete", "pods", False),
        ("dapr-injector", "patch", "mutatingwebhookconfigurations/another", False),
        ("dapr-operator", "get", "secrets", True),
        ("dapr-operator", "list", "secrets", False),
        ("dapr-operator", "patch", "components/status", True),
        ("dapr-operator", "update", "components", False),
        ("dapr-operator", "patch", "customresourcedefinitions/another", False),
    ],
)
def test_accounts_may_do_their_work_and_no_more(
    release: Release, account: str, verb: str, what: str, allowed: bool
) -> None:
    resource, _, rest = what.partition("/")
    asked = [resource, "--subresource=status"] if rest == "status" else [what]
    who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
    try:
        said = kubectl("auth", "can-i", verb, *asked, who, "-n", NAMESPACE)
    except CommandError as error:  # it ends with 1 where the answer is no
        said = str(error)
    assert said.splitlines()[-1] == ("yes" if allowed else "no")
