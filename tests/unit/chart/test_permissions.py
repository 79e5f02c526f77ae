"""What the chart lets programs do, and how it confines them."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import NAMESPACE, SETTINGS, Objects, Render, pod_of, workloads


def rules(objects: Objects) -> list[dict[str, Any]]:
    kinds = ("Role", "ClusterRole")
    return [rule for (kind, _), body in objects.items() if kind in kinds for rule in body["rules"]]


@pytest.mark.parametrize("name", SETTINGS)
def test_no_rule_names_everything(name: str, render: Render) -> None:
    found = rules(render(*SETTINGS[name]))
    assert found
    for rule in found:
        for part in ("apiGroups", "resources", "verbs"):
            assert rule[part], rule
            assert "*" not in "".join(rule[part]), rule


@pytest.mark.parametrize("name", SETTINGS)
def test_nobody_may_list_secrets_or_change_roles(name: str, render: Render) -> None:
    for rule in rules(render(*SETTINGS[name])):
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
        if "secrets" in rule["resources"]:
            assert not {"list", "watch", "create", "delete", "patch"} & set(rule["verbs"])
            assert "update" not in rule["verbs"] or rule["resourceNames"] == ["dapr-trust-bundle"]


def test_every_role_is_bound_to_an_account_of_the_chart(render: Render) -> None:
    objects = render()
    for kind in ("Role", "ClusterRole"):
        names = {name for k, name in objects if k == kind}
        bindings = [body for (k, _), body in objects.items() if k == f"{kind}Binding"]
        assert {body["roleRef"]["name"] for body in bindings} == names
        for body in bindings:
            assert body["roleRef"]["kind"] == kind
            for subject in body["subjects"]:
                own = ("ServiceAccount", subject["name"]) in objects
                assert own or body["metadata"]["name"] == "dapr-secret-reader"
                assert subject["namespace"] == (NAMESPACE if own else "default")


def test_namespaced_permissions_are_cluster_wide_only_where_the_objects_are(render: Render) -> None:
    objects = render("global.rbac.namespaced=true")
    wide = {
        resource
        for (kind, _), body in objects.items()
        if kind == "ClusterRole"
        for rule in body["rules"]
        for resource in rule["resources"]
    }
    assert wide == {
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "serviceaccounts",
        "tokenreviews",
        "validatingwebhookconfigurations",
    }
    (reviews,) = objects["ClusterRole", "dapr-sentry"]["rules"]
    assert (reviews["resources"], reviews["verbs"]) == (["tokenreviews"], ["create"])
    container = pod_of(workloads(objects)["dapr-sentry"])["containers"][0]
    assert {"name": "WATCH_NAMESPACE", "value": NAMESPACE} in container["env"]
    container = pod_of(workloads(objects)["dapr-operator"])["containers"][0]
    assert container["args"][container["args"].index("--watch-namespace") + 1] == NAMESPACE


@pytest.mark.parametrize("name", SETTINGS)
def test_programs_are_nobody_and_can_write_nothing(name: str, render: Render) -> None:
    objects = render(*SETTINGS[name])
    running = list(workloads(objects).values())
    running += [body for (kind, _), body in objects.items() if kind == "Job"]
    for workload in running:
        context = pod_of(workload)["containers"][0]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_pods_wait_for_the_trust_anchors_where_they_are_mounted(render: Render) -> None:
    for name, workload in workloads(render()).items():
        volumes = {each["name"]: each for each in pod_of(workload)["volumes"]}
        if name == "dapr-sentry":
            assert volumes["credentials"]["secret"] == {"secretName": "dapr-trust-bundle"}
        else:
            items = volumes["dapr-trust-bundle"]["configMap"]["items"]
            assert items == [{"key": "ca.crt", "path": "ca.crt"}]


def test_an_upgrade_says_nothing_about_the_authority(render: Render) -> None:
    objects = render()
    assert "data" not in objects["Secret", "dapr-trust-bundle"]
    assert "data" not in objects["ConfigMap", "dapr-trust-bundle"]


def test_only_what_an_uninstall_needs_is_a_hook(render: Render) -> None:
    hooks = {
        key: body["metadata"]["annotations"]["helm.sh/hook"]
        for key, body in render().items()
        if "helm.sh/hook" in body["metadata"].get("annotations", {})
    }
    assert {name for _, name in hooks} == {"dapr-cleanup"}
    assert set(hooks.values()) == {"post-delete"}


def test_validation_spares_the_configuration_that_the_operator_needs_to_start(
    render: Render,
) -> None:
    objects = render()
    (webhook,) = objects["ValidatingWebhookConfiguration", "dapr-validation"]["webhooks"]
    (expression,) = webhook["objectSelector"]["matchExpressions"]
    labels = objects["Configuration", "daprsystem"]["metadata"]["labels"]
    assert expression["operator"] == "DoesNotExist"
    assert expression["key"] in labels


def test_an_injector_that_must_answer_is_not_asked_about_dapr_s_own_pods(render: Render) -> None:
    """With nobody left to answer, no injector could ever start again."""
    name = ("MutatingWebhookConfiguration", "dapr-sidecar-injector")
    (webhook,) = render()[name]["webhooks"]
    assert "objectSelector" not in webhook
    policy = "dapr_sidecar_injector.webhookFailurePolicy=Fail"
    objects = render(policy)
    (webhook,) = objects[name]["webhooks"]
    (expression,) = webhook["objectSelector"]["matchExpressions"]
    assert expression["operator"] == "NotIn"
    for workload in workloads(objects).values():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert labels[expression["key"]] in expression["values"]
    own = "dapr_sidecar_injector.objectSelector.matchLabels.inject=yes"
    (webhook,) = render(policy, own)[name]["webhooks"]
    assert webhook["objectSelector"] == {"matchLabels": {"inject": "yes"}}
