"""What injection changes beside the sidecar: app containers, labels, volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Admit = Callable[..., Any]
MakePod = Callable[..., Any]

SOCKET_MOUNT = {"name": "dapr-unix-domain-socket", "mountPath": "/s"}


def environment_of(pod: dict[str, Any], index: int = 0) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["spec"]["containers"][index]["env"]}


@pytest.mark.parametrize(
    ("protocol", "ssl", "seen"),
    [
        ("http", "false", "http"),
        ("http", "true", "https"),
        ("https", "true", "https"),
        ("grpc", "true", "grpcs"),
        ("grpcs", "false", "grpcs"),
        ("h2c", "true", "h2c"),
        (" GRPC ", "false", "grpc"),
        ("rest", "true", None),
        ("", "false", None),
    ],
)
def test_an_app_sees_the_protocol_that_is_in_force(
    protocol: str, ssl: str, seen: str | None, admit: Admit, make_pod: MakePod
) -> None:
    pod = make_pod({"app-protocol": protocol, "app-ssl": ssl})
    assert environment_of(admit(pod).pod).get("APP_PROTOCOL") == seen


def test_an_app_finds_its_sidecar(admit: Admit, make_pod: MakePod) -> None:
    assert environment_of(admit(make_pod({"grpc-port": "7"})).pod) == {
        "DAPR_HTTP_PORT": "3500",
        "DAPR_GRPC_PORT": "7",
        "APP_PROTOCOL": "http",
    }


def test_every_app_container_is_told_and_none_loses_its_own_word(
    admit: Admit, make_pod: MakePod
) -> None:
    own = {"name": "DAPR_GRPC_PORT", "value": "mine"}
    pod = make_pod(
        containers=[
            {"name": "a", "image": "a", "env": [own]},
            {"name": "b", "image": "b", "env": []},
        ],
        initContainers=[{"name": "setup", "image": "s"}],
    )
    changed = admit(pod).pod

    assert environment_of(changed, 0) == {
        "DAPR_GRPC_PORT": "mine",
        "DAPR_HTTP_PORT": "3500",
        "APP_PROTOCOL": "http",
    }
    assert changed["spec"]["containers"][0]["env"][0] == own
    assert environment_of(changed, 1)["DAPR_GRPC_PORT"] == "50001"
    assert changed["spec"]["initContainers"] == pod["spec"]["initContainers"]


@pytest.mark.parametrize(
    ("mounts", "after"),
    [
        ([], [SOCKET_MOUNT]),
        ([{"name": "z", "mountPath": "/z"}], [{"name": "z", "mountPath": "/z"}, SOCKET_MOUNT]),
        ([{"name": "z", "mountPath": "/s"}], [{"name": "z", "mountPath": "/s"}]),
        (
            [{"name": "dapr-unix-domain-socket", "mountPath": "/z"}],
            [{"name": "dapr-unix-domain-socket", "mountPath": "/z"}],
        ),
    ],
)
def test_the_socket_is_mounted_where_nothing_else_is(
    mounts: list[dict[str, str]],
    after: list[dict[str, str]],
    admit: Admit,
    make_pod: MakePod,
) -> None:
    app = {"name": "app", "image": "a", "volumeMounts": mounts}
    changed = admit(make_pod({"unix-domain-socket-path": "/s"}, containers=[app])).pod

    assert changed["spec"]["containers"][0]["volumeMounts"] == after
    assert changed["spec"]["volumes"][0] == {
        "name": "dapr-unix-domain-socket",
        "emptyDir": {"medium": "Memory"},
    }


@pytest.mark.parametrize("labels", [None, {}, {"app": "x", "dapr.io/app-id": "forged"}])
def test_labels_say_what_was_done_and_others_stay(
    labels: dict[str, str] | None, admit: Admit, make_pod: MakePod
) -> None:
    pod = make_pod({"enable-metrics": "false"})
    if labels is not None:
        pod["metadata"]["labels"] = labels

    assert admit(pod).pod["metadata"]["labels"] == (labels or {}) | {
        "dapr.io/sidecar-injected": "true",
        "dapr.io/app-id": "orders",
        "dapr.io/metrics-enabled": "false",
    }


@pytest.mark.parametrize("spec", [{"containers": []}, {"containers": None}])
def test_a_pod_without_containers_has_only_the_sidecar(
    spec: dict[str, Any], admit: Admit, make_pod: MakePod
) -> None:
    changed = admit(make_pod(**spec)).pod
    assert [container["name"] for container in changed["spec"]["containers"]] == ["daprd"]


def test_a_native_sidecar_starts_after_the_pods_own_init_containers(
    admit: Admit, make_pod: MakePod
) -> None:
    pod = make_pod(
        {"enable-native-sidecar": "true"}, initContainers=[{"name": "setup", "image": "s"}]
    )
    spec = admit(pod).pod["spec"]

    assert [container["name"] for container in spec["initContainers"]] == ["setup", "daprd"]
    assert [container["name"] for container in spec["containers"]] == ["app"]
    assert spec["initContainers"][-1]["restartPolicy"] == "Always"


def test_a_volume_of_the_name_of_ours_is_not_added_again(admit: Admit, make_pod: MakePod) -> None:
    volumes = [{"name": "dapr-identity-token", "emptyDir": {}}]
    assert admit(make_pod(volumes=volumes)).pod["spec"]["volumes"] == volumes
