"""Containers that are components: the pod's own, and those that Components declare."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Admit = Callable[..., Any]
MakePod = Callable[..., Any]

SOCKETS = "dapr-components-unix-domain-socket"
FOLDER = "/tmp/dapr-components-sockets"
MOUNT = {"name": SOCKETS, "mountPath": FOLDER}
VARIABLE = {"name": "DAPR_COMPONENT_SOCKETS_FOLDER", "value": FOLDER}
WANTED = {"inject-pluggable-components": "true"}


def component(name: str, container: Any, *scopes: str) -> dict[str, Any]:
    text = container if isinstance(container, str) else json.dumps(container)
    return {
        "kind": "Component",
        "metadata": {"name": name, "annotations": {"dapr.io/component-container": text}},
        "scopes": list(scopes),
    }


def container_of(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in pod["spec"]["containers"] if one["name"] == name)


def volumes_of(pod: dict[str, Any]) -> list[str]:
    return [volume["name"] for volume in pod["spec"].get("volumes", [])]


def test_a_component_of_the_pod_shares_sockets_with_the_sidecar_and_is_no_app(
    admit: Admit, make_pod: MakePod
) -> None:
    pod = make_pod(
        {"pluggable-components": " store , ", "unix-domain-socket-path": "/s"},
        containers=[{"name": "app", "image": "a"}, {"name": "store", "image": "b"}],
    )
    changed = admit(pod).pod

    store = container_of(changed, "store")
    assert (store["env"], store["volumeMounts"]) == ([VARIABLE], [MOUNT])
    app = container_of(changed, "app")
    assert [one["name"] for one in app["env"]] == [
        "DAPR_HTTP_PORT",
        "DAPR_GRPC_PORT",
        "APP_PROTOCOL",
    ]
    assert app["volumeMounts"] == [{"name": "dapr-unix-domain-socket", "mountPath": "/s"}]
    assert container_of(changed, "daprd")["volumeMounts"][-1] == MOUNT
    assert volumes_of(changed) == ["dapr-unix-domain-socket", "dapr-identity-token", SOCKETS]


def test_what_a_component_has_already_stays(admit: Admit, make_pod: MakePod) -> None:
    store = {
        "name": "store",
        "image": "b",
        "env": [{"name": "DAPR_COMPONENT_SOCKETS_FOLDER", "value": "/mine"}],
        "volumeMounts": [{"name": "d", "mountPath": FOLDER}],
    }
    pod = make_pod({"pluggable-components": "store"}, containers=[store])

    assert container_of(admit(pod).pod, "store") == store


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("volumes", [None, [], [{"name": "data", "emptyDir": {}}]])
def test_the_sockets_never_take_the_place_of_another_volume(
    token: bool, volumes: list[dict[str, Any]] | None, admit: Admit, make_pod: MakePod
) -> None:
    spec = {} if volumes is None else {"volumes": volumes}
    pod = make_pod({"pluggable-components": "app"}, **spec)
    changed = admit(pod, facts={"has_identity_token": token}).pod

    own = ["data"] if volumes else []
    assert volumes_of(changed) == [*own, *(["dapr-identity-token"] if token else []), SOCKETS]


def test_a_component_the_pod_lacks_is_a_warning(admit: Admit, make_pod: MakePod) -> None:
    admitted = admit(make_pod({"pluggable-components": "store"}))

    assert admitted.warnings == [
        "dapr.io/pluggable-components names store, ignored: the pod has no such container"
    ]
    assert SOCKETS not in volumes_of(admitted.pod)


def test_declared_containers_are_added_once_per_image(admit: Admit, make_pod: MakePod) -> None:
    components = [
        component("first.store", {"image": "a:1", "args": ["-v"]}),
        component("second", {"image": "a:1"}),
        component("third", {"image": "b:1", "name": "named"}, "orders", "billing"),
        component("fourth", {"image": "c:1"}, "billing"),
        {"metadata": {"name": "plain"}},
    ]
    admitted = admit(make_pod(WANTED), facts={"components": components})

    assert admitted.pod["spec"]["containers"][2:] == [
        {
            "name": "first-store",
            "image": "a:1",
            "args": ["-v"],
            "resources": {},
            "env": [VARIABLE],
            "volumeMounts": [MOUNT],
        },
        {
            "name": "named",
            "image": "b:1",
            "resources": {},
            "env": [VARIABLE],
            "volumeMounts": [MOUNT],
        },
    ]
    assert admitted.warnings == []


def test_nobody_asked_for_them(admit: Admit, make_pod: MakePod) -> None:
    components = [component("a", {"image": "a:1"})]
    assert admit(make_pod(), facts={"components": components}).patch == admit(make_pod()).patch


def test_volumes_that_declared_containers_mount_are_made(admit: Admit, make_pod: MakePod) -> None:
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "cache", "mountPath": "/cache"},
        {"name": SOCKETS, "mountPath": "/elsewhere"},
    ]
    components = [
        component("a", {"image": "a:1", "volumeMounts": mounts}),
        component("b", {"image": "b:1", "volumeMounts": mounts[:1]}),
    ]
    pod = make_pod(WANTED, volumes=[{"name": "data", "hostPath": {"path": "/d"}}])
    changed = admit(pod, facts={"components": components}).pod

    assert volumes_of(changed) == ["data", "dapr-identity-token", SOCKETS, "cache"]
    assert changed["spec"]["volumes"][0] == {"name": "data", "hostPath": {"path": "/d"}}
    assert container_of(changed, "a")["volumeMounts"] == mounts


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", "{}", '{"image": 1}', '{"image": "a", "env": "A=1"}']
)
def test_a_container_that_cannot_be_read_is_skipped_with_a_warning(
    text: str, admit: Admit, make_pod: MakePod
) -> None:
    components = [component("broken", text), component("fine", {"image": "b:1"})]
    admitted = admit(make_pod(WANTED), facts={"components": components})

    names = [one["name"] for one in admitted.pod["spec"]["containers"]]
    assert names == ["app", "daprd", "fine"]
    (warning,) = admitted.warnings
    assert warning.startswith("dapr.io/component-container of Component broken is ignored: ")


@pytest.mark.parametrize(
    ("name", "container_name"),
    [
        ("my--store", "my--store"),
        ("my.store.v1", "my-store-v1"),
        ("a" * 62 + ".b", "a" * 62),
    ],
)
def test_a_components_name_becomes_one_a_container_can_have(
    name: str, container_name: str, admit: Admit, make_pod: MakePod
) -> None:
    components = [component(name, {"image": "x:1"})]
    changed = admit(make_pod(WANTED), facts={"components": components}).pod

    assert changed["spec"]["containers"][-1]["name"] == container_name


def test_a_long_warning_is_cut(admit: Admit, make_pod: MakePod) -> None:
    components = [component("c" * 253, "{")]
    (warning,) = admit(make_pod(WANTED), facts={"components": components}).warnings

    assert len(warning) == 256
    assert warning.endswith("c...")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"image": "x:1", "name": "app"}, "named 'app', which the pod has already"),
        ({"image": "x:1", "name": "daprd"}, "named 'daprd', which the pod has already"),
        ({"image": "x:1", "name": "setup"}, "named 'setup', which the pod has already"),
        ({"image": "x:1", "name": "other"}, "named 'other', which the pod has already"),
        ({"image": "x:1", "name": "Big_Name"}, "named 'Big_Name': give it a name of lower case"),
        ({"image": "x:1", "name": "x" * 64}, "xx': give it a name of lower case"),
        (
            {"image": "x:1", "volumeMounts": [{"name": "a/b", "mountPath": "/x"}]},
            "mounts a volume named 'a/b', which no volume can be",
        ),
    ],
)
def test_names_that_cannot_be_stop_the_pod_with_the_reason(
    container: dict[str, Any], message: str, admit: Admit, make_pod: MakePod
) -> None:
    components = [component("other", {"image": "o:1"}), component("mine", container)]
    pod = make_pod(WANTED, initContainers=[{"name": "setup", "image": "s"}])
    admitted = admit(pod, facts={"components": components})

    assert admitted.response["allowed"] is False
    assert message in admitted.response["status"]["message"]
    assert admitted.answer.outcome.failure == "patch"
