"""What is applied reaches running sidecars, and no request fails meanwhile."""

from __future__ import annotations

import time
from typing import Any

from cluster.applications import Space, component, resource
from cluster.figures import Figures
from cluster.kubectl import get
from cluster.load import Load, under_load
from cluster.waiting import Until

_TIMES = 8
_NOWHERE = "nowhere.invalid:6379"


def test_a_component_reaches_a_running_sidecar(space: Space) -> None:
    space.app("app")
    (before,) = space.pods("app")
    with space.watch("app", "/v1.0/state/late/key") as watch:
        watch.until(500)  # no such store
        space.apply(component("late", "state.in-memory"))
        applied = time.time()
        used = watch.until(204)
    print(f"used {used - applied:.3f} s after kubectl apply came back")
    assert used - applied < 10.0  # how fast it is, test_figures says: here others work, too
    (after,) = space.pods("app")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert all(status["restartCount"] == 0 for status in after["status"]["containerStatuses"])


def test_the_status_of_a_component_says_where_it_is_loaded(space: Space, until: Until) -> None:
    space.apply(component("memory", "state.in-memory"))
    space.app("app", replicas=2)
    until(lambda: loaded(space, "memory") == "2/2", 30, "both are counted")


def test_live_policies_fail_no_request(space: Space, until: Until, figures: Figures) -> None:
    space.pair()
    with under_load(space, "source", "target") as load:
        for number in range(_TIMES):
            space.apply(resiliency(number))
            said(space, "Resiliency policies in use: policies", number + 1)
    figures.add("requests failed by a live Resiliency", failed(load))
    load.assert_nothing_failed(until)


def test_a_live_configuration_fails_no_request(
    space: Space, until: Until, figures: Figures
) -> None:
    space.apply(configuration(0))
    space.pair(config="settings")
    with under_load(space, "source", "target") as load:
        for number in range(1, _TIMES):
            space.apply(configuration(number))
            said(space, "Configuration settings is applied", number)
    figures.add("requests failed by a live Configuration", failed(load))
    load.assert_nothing_failed(until)


def test_a_broken_component_leaves_what_serves(
    space: Space, until: Until, figures: Figures
) -> None:
    space.pair()
    with under_load(space, "source", "target") as load:
        space.apply(component("statestore", "state.redis", redisHost=_NOWHERE))
        space.apply(component("pubsub", "pubsub.redis", redisHost=_NOWHERE))
        space.apply(component("new", "state.redis", redisHost=_NOWHERE))
        said(space, "the version before stays in use", 2)
        until(lambda: loaded(space, "statestore") == "0/2", 40, "the cluster is told")
    figures.add("requests failed by a broken component", failed(load))
    load.assert_nothing_failed(until)
    for app_id in ("source", "target"):
        (pod,) = space.pods(app_id)
        assert all(each["ready"] for each in pod["status"]["containerStatuses"])
        assert all(each["restartCount"] == 0 for each in pod["status"]["containerStatuses"])


def test_a_component_without_its_secret_is_in_nobodys_way(space: Space, until: Until) -> None:
    secretless = component("secretless", "state.redis", redisHost="redis:6379")
    reference = {"secretKeyRef": {"name": "missing", "key": "password"}}
    secretless["spec"]["metadata"].append({"name": "redisPassword", **reference})
    secretless["spec"]["ignoreErrors"] = True
    space.apply(secretless, component("memory", "state.in-memory"))
    space.app("app")  # ready
    assert space.call("app", "GET", "/v1.0/state/memory/key")[0] == 204

    def told() -> bool:
        return "missing" in str(get("component", "secretless", "-n", space.name).get("status"))

    until(told, 30, "its status names the secret")


def resiliency(number: int) -> dict[str, Any]:
    """Policies of everything that the load does, different each time."""
    retry = {"policy": "constant", "duration": "10ms", "maxRetries": number + 1}
    names = {"timeout": "brief", "retry": "again"}
    return resource(
        "Resiliency",
        "policies",
        policies={"timeouts": {"brief": f"{number + 5}s"}, "retries": {"again": retry}},
        targets={
            "apps": {"target": names},
            "components": {
                "statestore": {"outbound": names},
                "pubsub": {"outbound": names, "inbound": names},
            },
        },
    )


def configuration(number: int) -> dict[str, Any]:
    """Every section that a sidecar applies in place, different each time."""
    return resource(
        "Configuration",
        "settings",
        tracing={"samplingRate": "1" if number % 2 else "0", "stdout": True},
        metrics={"enabled": True, "http": {"increasedCardinality": bool(number % 2)}},
        accessControl={"defaultAction": "allow", "trustDomain": "public"},
        api={"denied": [{"name": "lock", "version": "v1alpha1", "protocol": "http"}][: number % 2]},
        httpPipeline={
            "handlers": [{"name": "upper", "type": "middleware.http.routeralias"}][: number % 2]
        },
    )


def failed(load: Load) -> str:
    """``0 of 1234``."""
    count = load.became["failed"]
    return f"{count} of {load.became['acknowledged'] + count}"


def loaded(space: Space, name: str) -> str:
    """Where a component is loaded, as its status says: ``1/2``."""
    status = get("component", name, "-n", space.name).get("status") or {}
    return str(status.get("loaded", ""))


def said(space: Space, text: str, times: int) -> None:
    """Wait until every sidecar of the pair has logged it so often."""
    for app_id in ("source", "target"):
        space.await_log(app_id, text, times)
