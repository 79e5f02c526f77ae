"""The chart is Dapr's: its values, objects, ports, labels and arguments, but for what is said here.

The facts lie beside the checkout; without them these tests are skipped.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from .conftest import CHART, NAMESPACE, Objects, Render, pod_of, workloads

OTHER_VALUES = {
    "global.registry": "nothing is published",
    "global.tag": "our own version",
    "dapr_operator.watchInterval": "missed injections are healed by default",
    "dapr_sidecar_injector.ignoreEntrypointTolerations": "plain JSON, Dapr's cannot be read",
}
# There is no scheduler; kinds are not rendered by `helm template`; placement's role has rules.
LEFT_OUT = {
    "ClusterRole/dapr-placement",
    "ClusterRoleBinding/dapr-placement",
    "ClusterRole/dapr-scheduler",
    "ClusterRoleBinding/dapr-scheduler",
    "PodDisruptionBudget/dapr-scheduler-server-disruption-budget",
    "Service/dapr-scheduler-server",
    "Service/dapr-scheduler-server-a",
    "ServiceAccount/dapr-scheduler",
    "StatefulSet/dapr-scheduler-server",
}
ADDED = {
    "Role/dapr-placement",
    "RoleBinding/dapr-placement",
    "ValidatingWebhookConfiguration/dapr-validation",
    "ServiceAccount/dapr-cleanup",
    "ClusterRole/dapr-cleanup",
    "ClusterRoleBinding/dapr-cleanup",
    "Job/dapr-cleanup",
}
NAMESPACED = {"Role/dapr-scheduler", "RoleBinding/dapr-scheduler"}
KEPT_WHEN_NAMESPACED = {"ClusterRole/dapr-operator-admin", "ClusterRoleBinding/dapr-operator-admin"}


def names(objects: Objects) -> set[str]:
    return {f"{kind}/{name}" for kind, name in objects}


def facts_of(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = facts["render"]["objects"]
    return {
        f"{each['kind']}/{each['name']}": each
        for each in found
        if each["kind"] != "CustomResourceDefinition"
    }


def values() -> dict[str, Any]:
    """Defaults by path, of all parts."""
    files = {"": CHART / "values.yaml"}
    files |= {f"{path.parent.name}.": path for path in CHART.glob("charts/*/values.yaml")}
    found: dict[str, Any] = {}
    for prefix, path in files.items():
        flatten(yaml.safe_load(path.read_text(encoding="utf-8")), prefix, found)
    return found


def flatten(node: Any, prefix: str, found: dict[str, Any]) -> None:
    for name, value in node.items():
        path = f'{prefix}["{name}"]' if "." in name else f"{prefix}{name}"
        if isinstance(value, dict) and value:
            flatten(value, f"{path}.", found)
        else:
            found[path] = value


def without_own_label(labels: dict[str, str]) -> dict[str, str]:
    """The version differs, and one label of ours marks the Configuration."""
    own = ("app.kubernetes.io/version", "dapr.io/control-plane")
    return {name: text for name, text in labels.items() if name not in own}


def test_every_value_is_there_with_its_default(facts: dict[str, Any]) -> None:
    ours, wanted = values(), facts["values"]
    assert not set(wanted) - set(ours)
    different = {path for path, value in wanted.items() if ours[path] != value}
    assert different == set(OTHER_VALUES)


def test_every_object_is_there(facts: dict[str, Any], render: Render) -> None:
    wanted = set(facts_of(facts))
    assert names(render()) == wanted - LEFT_OUT | ADDED


def test_labels_and_services_are_the_same(facts: dict[str, Any], render: Render) -> None:
    objects = render()
    for (kind, name), body in objects.items():
        if (fact := facts_of(facts).get(f"{kind}/{name}")) is None:
            continue
        labels = without_own_label(body["metadata"]["labels"])
        assert labels == without_own_label(fact["labels"]), name
        if kind == "Service":
            assert body["metadata"].get("annotations") == fact.get("annotations")
            assert ports(body["spec"]) == ports(fact["spec"])
            for part in ("selector", "clusterIP", "publishNotReadyAddresses"):
                assert body["spec"].get(part) == fact["spec"].get(part), name


def ports(spec: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (each.get("name"), each["port"], each.get("targetPort", each["port"]))
        for each in spec["ports"]
    ]


def test_webhook_and_configuration_are_the_same(facts: dict[str, Any], render: Render) -> None:
    objects = render()
    wanted = facts_of(facts)
    webhook = objects["MutatingWebhookConfiguration", "dapr-sidecar-injector"]
    assert (
        webhook["webhooks"]
        == wanted["MutatingWebhookConfiguration/dapr-sidecar-injector"]["webhooks"]
    )
    configuration = objects["Configuration", "daprsystem"]
    assert configuration["spec"] == wanted["Configuration/daprsystem"]["spec"]


def test_workloads_are_the_same(facts: dict[str, Any], render: Render) -> None:
    for name, workload in workloads(render()).items():
        kind = "StatefulSet" if name == "dapr-placement-server" else "Deployment"
        fact = facts_of(facts)[f"{kind}/{name}"]
        assert workload["spec"]["replicas"] == fact["replicas"] == 1
        assert workload["spec"]["selector"] == fact["selector"]
        template = workload["spec"]["template"]
        assert without_own_label(template["metadata"]["labels"]) == without_own_label(
            fact["podLabels"]
        )
        assert template["metadata"]["annotations"] == fact["podAnnotations"]
        spec, (wanted,) = template["spec"], fact["containers"]
        assert spec["serviceAccountName"] == fact["podSpec"]["serviceAccountName"]
        assert spec["affinity"] == fact["podSpec"]["affinity"]
        (container,) = spec["containers"]
        for part in (
            "name",
            "imagePullPolicy",
            "livenessProbe",
            "readinessProbe",
            "securityContext",
        ):
            assert container[part] == wanted[part], (name, part)
        mounts = [(each["name"], each["mountPath"]) for each in container["volumeMounts"]]
        assert mounts == [(each["name"], each["mountPath"]) for each in wanted["volumeMounts"]]
        assert {each["containerPort"] for each in container["ports"]} == {
            each["containerPort"] for each in wanted["ports"] if each.get("name") != "raft-node"
        }


# What ours passes more or less, by workload.
ARGUMENTS = {
    "dapr-placement-server": ({"--id", "$(PLACEMENT_ID)", "--port", "50005"}, set()),
    "dapr-operator": ({"10s"}, {"0"}),
    "dapr-sidecar-injector": ({"--scheduler-enabled=false"}, {"--scheduler-enabled=true"}),
    "dapr-sentry": (set(), set()),
}


def test_arguments_and_environment_are_the_same(facts: dict[str, Any], render: Render) -> None:
    for name, workload in workloads(render()).items():
        kind = "StatefulSet" if name == "dapr-placement-server" else "Deployment"
        (wanted,) = facts_of(facts)[f"{kind}/{name}"]["containers"]
        (container,) = pod_of(workload)["containers"]
        more, less = ARGUMENTS[name]
        assert set(container["args"]) == set(wanted["args"]) - less | more, name
        ours = {each["name"]: each.get("value") for each in container["env"]}
        theirs = {each["name"]: each.get("value") for each in wanted["env"]}
        for variable in ("SIDECAR_IMAGE", "IGNORE_ENTRYPOINT_TOLERATIONS"):
            assert (variable in ours) == (variable in theirs)
            ours.pop(variable, None)
            theirs.pop(variable, None)
        assert ours == theirs, name


def variants(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = facts["variants"]
    return found


@pytest.mark.parametrize(
    "setting",
    [
        "global.ha.enabled=true",
        "global.rbac.namespaced=true",
        "global.mtls.enabled=false",
        "global.logAsJson=true",
        "global.prometheus.enabled=false",
        "global.actors.enabled=false",
        "global.argoRolloutServiceReconciler.enabled=true",
        "dapr_operator.watchInterval=2m",
        "dapr_operator.serviceReconciler.enabled=false",
        "dapr_sidecar_injector.enabled=false",
        "dapr_sidecar_injector.nativeSidecar=true",
        "dapr_placement.ha=true",
        "dapr_placement.metadataEnabled=true",
        "dapr_sentry.jwt.enabled=true",
        "global.priorityClassName=x",
        "global.imagePullSecrets=s",
    ],
)
def test_a_setting_changes_what_it_changes_there(
    setting: str, facts: dict[str, Any], render: Render
) -> None:
    fact = variants(facts)[setting]
    before, after = render(), render(setting)
    added = {f"{each['kind']}/{each['name']}" for each in fact["addedObjects"]}
    removed = set(fact["removedObjects"])
    if setting == "global.rbac.namespaced=true":
        added |= {"Role/dapr-cleanup", "RoleBinding/dapr-cleanup"}
        removed |= {"ClusterRole/dapr-cleanup", "ClusterRoleBinding/dapr-cleanup"}
        removed -= KEPT_WHEN_NAMESPACED
    if setting == "global.actors.enabled=false":
        removed |= {"Role/dapr-placement", "RoleBinding/dapr-placement"}
    if setting == "dapr_operator.serviceReconciler.enabled=false":
        removed |= {each for each in ADDED if each.endswith("/dapr-cleanup")}
    assert names(after) - names(before) == added - LEFT_OUT - NAMESPACED - names(before)
    assert names(before) - names(after) == removed - LEFT_OUT
    for name, workload in workloads(after).items():
        more, less = changed_arguments(fact, name)
        if setting == "global.rbac.namespaced=true" and name == "dapr-operator":
            more |= {"--watch-namespace", NAMESPACE}
        old = pod_of(workloads(before)[name])["containers"][0]["args"]
        new = pod_of(workload)["containers"][0]["args"]
        assert set(new) - set(old) == more
        assert set(old) - set(new) == less


def changed_arguments(fact: dict[str, Any], name: str) -> tuple[set[str], set[str]]:
    more: set[str] = set()
    less: set[str] = set()
    for change in fact["changed"]:
        if re.search(rf"/{name}\..*\.args$", change["path"]):
            more |= set(change["added"])
            less |= set(change["removed"])
    # Placement has no Raft, and always an id; the watchdog is on before.
    raft = {"--id", "$(PLACEMENT_ID)", "--initial-cluster", "--raft-logstore-path"}
    more = {each for each in more - raft if ":8201" not in each and "raft-log" not in each}
    return more, ({"10s"} if less == {"0"} else less)
