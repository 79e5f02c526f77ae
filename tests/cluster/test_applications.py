"""Annotated Deployments get sidecars and identities: they talk, store and publish."""

from __future__ import annotations

import pytest
from cluster.applications import Space, has_sidecar
from cluster.kubectl import kubectl
from cluster.waiting import Until


def test_two_applications_talk_store_and_publish(space: Space, until: Until) -> None:
    space.store()
    space.app("shop", wait=False)
    space.app("stock")
    until(lambda: space.call("shop", "GET", "/v1.0/healthz")[0] == 204, 60, "shop is ready")
    for app_id in ("shop", "stock"):
        (pod,) = space.pods(app_id)
        assert has_sidecar(pod)
    until(lambda: space.exists("service", "stock-dapr"), 30, "its Service is made")

    (stock,) = space.pods("stock")
    who = space.call("shop", "GET", "/v1.0/invoke/stock/method/who")
    assert who == (200, stock["metadata"]["name"])

    saved = [{"key": "order", "value": {"tea": 2}}]
    assert space.call("shop", "POST", "/v1.0/state/statestore", saved)[0] == 204
    assert space.call("shop", "GET", "/v1.0/state/statestore/order") == (200, {"tea": 2})

    assert space.call("shop", "POST", "/v1.0/publish/pubsub/events", {"order": 1})[0] == 204
    until(lambda: {"order": 1} in space.received("stock"), 30, "the event arrives")


def test_sidecars_have_identities_of_their_namespace(space: Space) -> None:
    space.app("lonely")
    log = kubectl("logs", "-n", space.name, "deploy/lonely", "-c", "daprd")
    assert f"spiffe://public/ns/{space.name}/lonely" in log


@pytest.mark.parametrize("native", ["false", "true"])
def test_a_sidecar_is_a_container_or_a_native_one(space: Space, native: str) -> None:
    space.app("app", enable_native_sidecar=native)
    (pod,) = space.pods("app")
    part = "initContainers" if native == "true" else "containers"
    assert "daprd" in [container["name"] for container in pod["spec"][part]]
