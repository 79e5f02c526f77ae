"""The dashboard in a cluster: off by default, for itself on localhost, and reading only."""

from __future__ import annotations

from typing import Any

from .conftest import NAMESPACE, Objects, Render, pod_of, workloads

ON = "dapr_dashboard.enabled=true"


def container(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = pod_of(workloads(objects)["dapr-dashboard"])["containers"][0]
    return found


def value(objects: Objects, flag: str) -> str:
    arguments = container(objects)["args"]
    return str(arguments[arguments.index(flag) + 1])


def test_there_is_none_unless_it_is_wanted(render: Render) -> None:
    assert not [name for _, name in render() if "dashboard" in name]
    added = set(render(ON)) - set(render())
    kinds = sorted(kind for kind, name in added if name == "dapr-dashboard")
    assert len(added) == len(kinds)
    assert kinds == [
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ]


def test_pages_are_for_who_may_forward_ports(render: Render) -> None:
    objects = render(ON)
    assert value(objects, "--address") == "localhost"
    (port, *_) = objects["Service", "dapr-dashboard"]["spec"]["ports"]
    assert str(port["targetPort"]) == value(objects, "--port")
    probe = container(objects)["readinessProbe"]["httpGet"]
    assert str(probe["port"]) == value(objects, "--healthz-port") != value(objects, "--port")


def test_it_reads_no_secrets_and_changes_nothing(render: Render) -> None:
    for settings in ((ON,), (ON, "global.rbac.namespaced=true")):
        objects = render(*settings)
        rules = [
            rule
            for (kind, name), body in objects.items()
            if kind in ("Role", "ClusterRole") and name == "dapr-dashboard"
            for rule in body["rules"]
        ]
        assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
        resources = {resource for rule in rules for resource in rule["resources"]}
        assert resources == {
            "pods",
            "pods/log",
            "components",
            "configurations",
            "resiliencies",
            "configmaps",
        }


def test_logs_may_be_kept_from_it(render: Render) -> None:
    rules = render(ON, "dapr_dashboard.logs=false")["ClusterRole", "dapr-dashboard"]["rules"]
    assert not [rule for rule in rules if "pods/log" in rule["resources"]]


def test_in_one_namespace_it_looks_there_only(render: Render) -> None:
    objects = render(ON, "global.rbac.namespaced=true")
    assert ("ClusterRole", "dapr-dashboard") not in objects
    assert value(objects, "--namespace") == NAMESPACE


def test_names_that_browsers_ask_for(render: Render) -> None:
    objects = render(ON, "dapr_dashboard.allowedHosts={a.example,b.example}")
    assert value(objects, "--allowed-hosts") == "a.example,b.example"
    assert "--allowed-hosts" not in container(render(ON))["args"]
