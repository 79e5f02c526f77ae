"""The Services of annotated workloads, by a real operator in a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from harness.operator_process import Operator

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import Kind, KubeObject
from dapr_operator.kinds import DEPLOYMENTS, SERVICES, STATEFUL_SETS


def workload(name: str, annotations: dict[str, str], **spec: Any) -> KubeObject:
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "none"}]},
            },
            **spec,
        },
    }


def annotated(app_id: str, **more: str) -> dict[str, str]:
    named = {f"dapr.io/{name.replace('_', '-')}": text for name, text in more.items()}
    return {"dapr.io/enabled": "true", "dapr.io/app-id": app_id, **named}


async def service(
    place: Any, name: str, accept: Callable[[KubeObject], object] = lambda _: True
) -> KubeObject:
    found: KubeObject = await place.until(SERVICES, name, accept)
    return found


def owner(found: KubeObject) -> str:
    (reference,) = found["metadata"]["ownerReferences"]
    return f"{reference['kind']} {reference['name']}"


@pytest.mark.parametrize(
    ("kind", "word", "spec"),
    [(DEPLOYMENTS, "Deployment", {}), (STATEFUL_SETS, "StatefulSet", {"serviceName": "shop"})],
)
async def test_a_workload_gets_its_service(
    place: Any, operator: Operator, kind: Kind, word: str, spec: dict[str, str]
) -> None:
    client = place.cluster.client
    body = workload("shop", annotated("orders", metrics_port="9191"), **spec)
    made = await client.create(kind, body, place.apps)
    found = await service(place, "orders-dapr")
    assert owner(found) == f"{word} shop"
    assert found["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["labels"] == {"dapr.io/enabled": "true"}
    assert found["metadata"]["annotations"]["prometheus.io/port"] == "9191"
    assert found["spec"]["clusterIP"] == "None"
    assert found["spec"]["selector"] == {"app": "shop"}
    after = await client.get(kind, "shop", place.apps)
    assert "finalizers" not in after["metadata"], "nothing of kopf's stays in the workload"
    assert after["metadata"].get("annotations", {}) == made["metadata"].get("annotations", {})
    await operator.counted('dapr_operator_service_created_total{app_id="orders"}', 1)


async def test_workloads_that_were_there_before(place: Any) -> None:
    for number in range(3):
        body = workload(f"shop-{number}", annotated(f"orders-{number}"))
        await place.cluster.client.create(DEPLOYMENTS, body, place.apps)
    async with place.operator():
        for number in range(3):
            await service(place, f"orders-{number}-dapr")


async def test_it_follows_the_workload(place: Any, operator: Operator) -> None:
    client = place.cluster.client
    await client.create(DEPLOYMENTS, workload("shop", annotated("orders")), place.apps)
    await service(place, "orders-dapr")
    changed = {"dapr.io/grpc-port": "40001"}
    patch = {"spec": {"template": {"metadata": {"annotations": changed}}}}
    await client.patch(DEPLOYMENTS, "shop", patch, place.apps)
    await service(place, "orders-dapr", lambda found: found["spec"]["ports"][1]["port"] == 40001)
    await operator.counted('dapr_operator_service_updated_total{app_id="orders"}', 1)


async def test_what_somebody_changes_or_deletes_is_made_good(
    place: Any, operator: Operator
) -> None:
    client = place.cluster.client
    await client.create(DEPLOYMENTS, workload("shop", annotated("orders")), place.apps)
    before = await service(place, "orders-dapr")
    patch = {"spec": {"selector": {"app": "other"}}}
    await client.patch(SERVICES, "orders-dapr", patch, place.apps)
    await service(place, "orders-dapr", lambda found: found["spec"]["selector"]["app"] == "shop")
    await client.delete(SERVICES, "orders-dapr", place.apps)
    after = await service(
        place,
        "orders-dapr",
        lambda found: found["metadata"]["uid"] != before["metadata"]["uid"],
    )
    assert owner(after) == "Deployment shop"


async def test_two_workloads_of_one_app_do_not_fight(place: Any, operator: Operator) -> None:
    client = place.cluster.client
    await client.create(DEPLOYMENTS, workload("blue", annotated("orders")), place.apps)
    await service(place, "orders-dapr")
    await client.create(DEPLOYMENTS, workload("green", annotated("orders")), place.apps)
    await client.create(DEPLOYMENTS, workload("marker", annotated("marker")), place.apps)
    await service(place, "marker-dapr")
    assert owner(await service(place, "orders-dapr")) == "Deployment blue"
    await client.delete(DEPLOYMENTS, "blue", place.apps)
    await client.delete(SERVICES, "orders-dapr", place.apps)  # as the garbage collector does
    await service(place, "orders-dapr", lambda found: owner(found) == "Deployment green")


async def test_a_service_of_the_user_s_is_left_alone(place: Any, operator: Operator) -> None:
    client = place.cluster.client
    theirs = {"metadata": {"name": "orders-dapr"}, "spec": {"ports": [{"port": 1}]}}
    await client.create(SERVICES, theirs, place.apps)
    await client.create(DEPLOYMENTS, workload("shop", annotated("orders")), place.apps)
    await place.event("ServiceNotOurs", "Service orders-dapr is not Dapr's")
    assert (await service(place, "orders-dapr"))["spec"]["ports"][0]["port"] == 1


async def test_app_ids_that_cannot_be(place: Any, operator: Operator) -> None:
    client = place.cluster.client
    await client.create(DEPLOYMENTS, workload("shop", annotated("Orders")), place.apps)
    found = await place.event("InvalidAppId", "dapr.io/app-id 'Orders' cannot be part")
    assert found["involvedObject"]["name"] == "shop"


async def test_what_the_cluster_refuses_is_told_once_and_made_after_a_change(
    place: Any, operator: Operator
) -> None:
    client = place.cluster.client
    twice = workload("shop", annotated("orders", grpc_port="9090"))  # the metrics' port, too
    await client.create(DEPLOYMENTS, twice, place.apps)
    found = await place.event("ServiceRefused", "Duplicate value")
    assert found["involvedObject"]["name"] == "shop"
    once = workload("shop", annotated("orders", grpc_port="9191"))
    await client.patch(DEPLOYMENTS, "shop", once, place.apps)
    await service(place, "orders-dapr")
    refused = [line for line in operator.lines if "the cluster takes no such Service" in line]
    assert len(refused) == 1
    assert not any("is tried again" in line for line in operator.lines if "shop" in line)


async def test_without_the_annotation_there_is_none(place: Any, operator: Operator) -> None:
    client = place.cluster.client
    off = {**annotated("orders"), "dapr.io/enabled": "false"}
    await client.create(DEPLOYMENTS, workload("shop", off), place.apps)
    await client.create(DEPLOYMENTS, workload("marker", annotated("marker")), place.apps)
    await service(place, "marker-dapr")
    with pytest.raises(NotFoundError):
        await client.get(SERVICES, "orders-dapr", place.apps)


async def test_rollouts(place: Any) -> None:
    """Argo's kind may be installed after the operator has started."""
    rollouts = Kind("argoproj.io", "v1alpha1", "rollouts")
    crd = {
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }
    crds = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
    client = place.cluster.client
    await client.create(crds, crd)
    async with place.operator("--enable-argo-rollout-service-reconciler"):
        body = {
            **workload("shop", annotated("orders")),
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
        }
        async with asyncio.timeout(40):
            while True:
                try:
                    await client.create(rollouts, body, place.apps)
                    break
                except NotFoundError:
                    await asyncio.sleep(0.05)
        assert owner(await service(place, "orders-dapr")) == "Rollout shop"
