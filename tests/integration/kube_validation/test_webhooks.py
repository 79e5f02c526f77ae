"""What ``kubectl apply`` says, and what is stored, with a real API server in between."""

from __future__ import annotations

from typing import Any

import pytest

from dapr_common.kube.api_errors import ApiError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.conversion import RULES
from dapr_common.kube.kinds import COMPONENTS, Kind
from dapr_common.kube.validation.review import SWITCH

OLD = Kind("dapr.io", "v1alpha1", "subscriptions")
NEW = Kind("dapr.io", "v2alpha1", "subscriptions")
RESILIENCIES = Kind("dapr.io", "v1alpha1", "resiliencies")
RULE = {"match": 'event.type == "a"', "path": "/a"}


def resource(kind: str, name: str, spec: Any, version: str = "v1alpha1") -> dict[str, Any]:
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def component(name: str, **entries: Any) -> dict[str, Any]:
    metadata = [{"name": key, "value": value} for key, value in entries.items()]
    spec = {"type": "state.redis", "version": "v1", "metadata": metadata}
    return resource("Component", name, spec)


async def test_a_component_is_refused_with_the_field(client: KubeClient) -> None:
    with pytest.raises(ApiError) as caught:
        await client.create(COMPONENTS, component("store", redisHots="r:6379"), "default")
    assert caught.value.status == 422
    assert (
        'spec.metadata[0].name: "redisHots" is unknown to state.redis, did you mean "redisHost"?'
        in str(caught.value)
    )
    made = await client.create(COMPONENTS, component("store", redisHost="r:6379"), "default")
    made["spec"]["metadata"].append({"name": "dialTimeout", "value": "soon"})
    with pytest.raises(ApiError, match=r"spec\.metadata\[1\]\.value: dialTimeout is"):
        await client.update(COMPONENTS, made)
    await client.delete(COMPONENTS, "store", "default")


async def test_one_that_was_let_in_can_be_labelled_and_deleted(client: KubeClient) -> None:
    body = component("odd", redisHots="r:6379")
    body["metadata"]["annotations"] = {SWITCH: "warn"}
    made = await client.create(COMPONENTS, body, "default")
    made["metadata"]["annotations"] = {}
    made["metadata"]["labels"] = {"a": "b"}
    await client.update(COMPONENTS, made)
    await client.delete(COMPONENTS, "odd", "default")


async def test_a_resiliency_that_names_nobody(client: KubeClient) -> None:
    spec = {"policies": {}, "targets": {"apps": {"a": {"timeout": "t"}}}}
    with pytest.raises(ApiError, match=r"spec\.targets\.apps\.a\.timeout: there is no policy"):
        await client.create(RESILIENCIES, resource("Resiliency", "r", spec), "default")


async def test_both_versions_of_a_subscription_are_one_object(client: KubeClient) -> None:
    common = {"pubsubname": "p", "topic": "t"}
    routes = {"rules": [RULE], "default": "/o"}
    body = resource("Subscription", "both", {**common, "routes": routes}, "v2alpha1")
    await client.create(NEW, body, "default")
    old = await client.get(OLD, "both", "default")
    assert old["apiVersion"] == "dapr.io/v1alpha1"
    assert (old["spec"]["route"], "routes" in old["spec"]) == ("/o", False)
    old["spec"]["topic"] = "other"
    await client.update(OLD, old)
    new = await client.get(NEW, "both", "default")
    assert new["spec"] == {"pubsubname": "p", "topic": "other", "routes": routes}
    assert RULES not in new["metadata"].get("annotations", {})
    await client.delete(NEW, "both", "default")


async def test_the_old_version_is_stored_as_the_new_one(client: KubeClient) -> None:
    spec = {"pubsubname": "p", "topic": "t", "route": "/o"}
    await client.create(OLD, resource("Subscription", "old", spec), "default")
    new = await client.get(NEW, "old", "default")
    assert new["spec"] == {"pubsubname": "p", "topic": "t", "routes": {"default": "/o"}}
    await client.delete(OLD, "old", "default")


async def test_a_subscription_with_a_bad_rule(client: KubeClient) -> None:
    routes = {"rules": [{"match": "event.type ==", "path": "/a"}]}
    spec = {"pubsubname": "p", "topic": "t", "routes": routes}
    with pytest.raises(ApiError, match=r"spec\.routes\.rules\[0\]\.match: .* is not valid CEL"):
        await client.create(NEW, resource("Subscription", "s", spec, "v2alpha1"), "default")
