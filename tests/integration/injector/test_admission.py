"""Pods made through a real API server, with a real injector and a real sentry."""

from __future__ import annotations

import asyncio

from harness.injector import Injector, InjectorPlace
from harness.sentry import Sentry

from dapr_common.kube.kinds import COMPONENTS, CONFIGURATIONS

OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "orders-7d9",
    "uid": "5a8f7d5e-0000-4000-8000-000000000001",
    "controller": True,
}


async def test_a_pod_gets_its_sidecar(place: InjectorPlace, injector: Injector) -> None:
    made = await place.create("orders-1", {"dapr.io/app-port": "6000"})
    assert (made.status, made.warnings) == (201, [])
    sidecar = made.containers["daprd"]
    assert sidecar["image"] == "example/daprd:1"
    env = {one["name"]: one.get("value") for one in sidecar["env"]}
    assert env["NAMESPACE"] == place.apps
    assert env["DAPR_CONTROLPLANE_NAMESPACE"] == place.namespace
    assert env["DAPR_TRUST_ANCHORS"] == await place.project()
    assert "--enable-mtls" in sidecar["args"]
    assert made.pod["metadata"]["labels"]["dapr.io/sidecar-injected"] == "true"
    assert any(one["name"] == "dapr-identity-token" for one in made.pod["spec"]["volumes"])
    samples = injector.metrics()
    assert samples['dapr_injector_sidecar_injection_succeeded_total{app_id="orders"}'] >= 1
    assert samples["dapr_injector_sidecar_injection_requests_total"] >= 1


async def test_one_that_does_not_want_it_stays_as_it_is(
    place: InjectorPlace, injector: Injector
) -> None:
    made = await place.create("plain", {"dapr.io/enabled": "false"})
    assert made.status == 201
    assert not made.has_sidecar


async def test_one_that_has_it_is_left_alone(place: InjectorPlace, injector: Injector) -> None:
    first = await place.create("first")
    again = await place.create(
        "second",
        labels=first.pod["metadata"]["labels"],
        spec={
            "containers": first.pod["spec"]["containers"],
            "volumes": first.pod["spec"]["volumes"],
        },
    )
    assert again.status == 201, again.message
    assert again.pod["spec"]["containers"] == first.pod["spec"]["containers"]


async def test_a_dry_run_is_answered_like_any_other_and_tells_nobody(
    place: InjectorPlace, injector: Injector
) -> None:
    bad = {"dapr.io/app-id": "not an id"}
    refused = await place.create("orders-1", bad, dry_run=True, ownerReferences=[OWNER])
    assert refused.status == 400
    await place.create("orders-2", {"dapr.io/app-prot": "1"}, ownerReferences=[OWNER])
    [event] = await place.events(1)
    assert "orders-2" in event["message"], "only what really happened is told"


async def test_a_refusal_names_the_cause_to_the_creator_and_to_the_owner(
    place: InjectorPlace, injector: Injector
) -> None:
    bad = {"dapr.io/app-id": "not an id"}
    for _ in range(3):
        refused = await place.create("orders-1", bad, ownerReferences=[OWNER])
        assert refused.status == 400
        assert "invalid app id (input: 'not an id'" in refused.message
    [event] = await place.events(1)
    about = event["involvedObject"]
    assert about == {**{name: OWNER[name] for name in ("apiVersion", "kind", "name", "uid")}} | {
        "namespace": place.apps
    }
    assert (event["type"], event["reason"]) == ("Warning", "DaprInjectionFailed")
    assert event["message"].startswith(f"no sidecar for pod {place.apps}/orders-1: invalid app id")
    failed = 'dapr_injector_sidecar_injection_failed_total{app_id="not an id",reason="patch"}'
    assert injector.metrics()[failed] == 3
    assert "invalid app id" in injector.log


async def test_warnings_reach_the_creator_and_the_namespace(
    place: InjectorPlace, injector: Injector
) -> None:
    doubtful = {"dapr.io/app-prot": "6000", "dapr.io/log-level": "loud"}
    made = await place.create("orders-1", doubtful)
    assert made.has_sidecar
    assert len(made.warnings) == 2
    events = await place.events(2)
    texts = " ".join(event["message"] for event in events)
    assert "did you mean dapr.io/app-port?" in texts
    assert "loud" in texts
    assert {event["involvedObject"]["kind"] for event in events} == {"Namespace"}
    assert {event["reason"] for event in events} == {"DaprInjectionWarning"}


async def test_pods_of_others_get_none_and_are_told_why(
    place: InjectorPlace, injector: Injector
) -> None:
    stranger = await place.login_of("stranger")
    made = await place.create("orders-1", login=stranger)
    assert made.status == 201
    assert not made.has_sidecar
    [warning] = made.warnings
    assert f"system:serviceaccount:{place.apps}:stranger" in warning
    [event] = await place.events(1)
    assert "stranger" in event["message"]
    failed = 'dapr_injector_sidecar_injection_failed_total{app_id="orders",reason="pod_patch"}'
    assert injector.metrics()[failed] == 1


async def test_the_list_of_allowed_accounts_is_kept(place: InjectorPlace, sentry: Sentry) -> None:
    friend = await place.login_of("friend")
    await place.register()
    allowed = {"ALLOWED_SERVICE_ACCOUNTS": f"{place.apps}:fr*"}
    async with place.injector(sentry, env=allowed):
        await place.until_injected()
        assert (await place.create("orders-1", login=friend)).has_sidecar


async def test_the_older_form_of_the_review(place: InjectorPlace, sentry: Sentry) -> None:
    await place.register(versions=["v1beta1"])
    async with place.injector(sentry):
        await place.until_injected()
        assert (await place.create("orders-1")).has_sidecar


async def test_containers_that_components_declare(place: InjectorPlace, injector: Injector) -> None:
    component = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {
            "name": "mine",
            "annotations": {"dapr.io/component-container": '{"image":"example/mine:1"}'},
        },
        "spec": {"type": "state.mine", "version": "v1", "metadata": []},
    }
    await place.cluster.client.create(COMPONENTS, component, place.apps)
    made = await place.create("orders-1", {"dapr.io/inject-pluggable-components": "true"})
    assert made.containers["mine"]["image"] == "example/mine:1"


async def test_mtls_is_switched_while_it_runs(place: InjectorPlace, injector: Injector) -> None:
    off = {"spec": {"mtls": {"enabled": False}}}
    client = place.cluster.client
    await client.patch(CONFIGURATIONS, "daprsystem", off, place.namespace)
    await asyncio.to_thread(injector.wait_line, "mTLS is switched off")
    made = await place.create("orders-1")
    assert "--enable-mtls" not in made.containers["daprd"]["args"]
    await client.delete(CONFIGURATIONS, "daprsystem", place.namespace)
    await asyncio.to_thread(injector.wait_line, "mTLS is switched on")
    made = await place.create("orders-2")
    assert "--enable-mtls" in made.containers["daprd"]["args"]
