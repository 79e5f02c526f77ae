"""From a pod to the JSON patch that gives it a sidecar. Pure: the pod is only read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotations import PREFIX
from dapr_injector.container import is_native, sidecar
from dapr_injector.environment import app_environment
from dapr_injector.injection import Injection
from dapr_injector.pluggable import (
    ComponentContainers,
    find_components,
    lacking_environment,
    lacking_mounts,
    sockets_environment,
)
from dapr_injector.pod import Pod, name_of, objects
from dapr_injector.volumes import (
    app_socket_mount,
    component_sockets_mount,
    component_sockets_volume,
    empty_volume,
    sidecar_volumes,
)

Operation = dict[str, Any]


def make_patch(injection: Injection) -> list[Operation]:
    """The operations, in Dapr's order. Raises ``InjectionError``."""
    components = find_components(injection)
    patch = _Patch(injection.pod)
    if not injection.pod.containers:
        patch.add("/spec/containers", [])
    if not injection.pod.labels:
        patch.add("/metadata/labels", {})
    patch.add_volumes(sidecar_volumes(injection))
    _add_sidecar(patch, injection, sidecar(injection, components))
    _add_labels(patch, injection)
    _change_app_containers(patch, injection, components)
    _add_components(patch, injection, components)
    return patch.operations


class _Patch:
    """Operations so far, and which volumes the pod has once they are applied."""

    def __init__(self, pod: Pod) -> None:
        self.operations: list[Operation] = []
        self._volumes = {name_of(volume) for volume in pod.volumes}

    def add(self, path: str, value: object) -> None:
        self.operations.append({"op": "add", "path": path, "value": value})

    def add_items(
        self, path: str, there: Sequence[KubeObject], items: Sequence[KubeObject]
    ) -> None:
        """Append to a list; one that is not there comes with all its items."""
        if not there and items:
            self.add(path, items)
            return
        for item in items:
            self.add(f"{path}/-", item)

    def add_volumes(self, volumes: Sequence[KubeObject]) -> None:
        """Those whose names are not taken, by the pod or by what was added before."""
        fresh = [volume for volume in volumes if name_of(volume) not in self._volumes]
        there = [{"name": name} for name in self._volumes]
        self.add_items("/spec/volumes", there, fresh)
        self._volumes.update(map(name_of, fresh))


def _add_sidecar(patch: _Patch, injection: Injection, container: KubeObject) -> None:
    if not is_native(injection):
        patch.add("/spec/containers/-", container)
        return
    if not injection.pod.init_containers:
        patch.add("/spec/initContainers", [])
    patch.add("/spec/initContainers/-", container)


def _add_labels(patch: _Patch, injection: Injection) -> None:
    labels = {
        "sidecar-injected": "true",
        "app-id": injection.app_id,
        "metrics-enabled": "true" if injection.annotations.metrics else "false",
    }
    prefix = PREFIX.replace("/", "~1")
    for name, value in labels.items():
        patch.add(f"/metadata/labels/{prefix}{name}", value)


def _change_app_containers(
    patch: _Patch, injection: Injection, components: ComponentContainers
) -> None:
    apps = [
        (f"/spec/containers/{index}", container)
        for index, container in enumerate(injection.pod.containers)
        if name_of(container) not in components.of_pod
    ]
    for path, container in apps:
        _add_environment(patch, path, container, app_environment(injection))
    if (mount := app_socket_mount(injection)) is not None:
        for path, container in apps:
            _add_mounts(patch, path, container, [mount])


def _add_components(patch: _Patch, injection: Injection, components: ComponentContainers) -> None:
    if not (folder := components.sockets_folder):
        return
    patch.add_volumes([component_sockets_volume()])
    for index, container in enumerate(injection.pod.containers):
        if name_of(container) in components.of_pod:
            path = f"/spec/containers/{index}"
            _add_environment(patch, path, container, sockets_environment(folder))
            _add_mounts(patch, path, container, [component_sockets_mount(folder)])
    patch.add_volumes([empty_volume(name) for name in components.volumes])
    for container in components.added:
        patch.add("/spec/containers/-", container)


def _add_environment(
    patch: _Patch, path: str, container: KubeObject, wanted: list[KubeObject]
) -> None:
    lacking = lacking_environment(container, wanted)
    patch.add_items(f"{path}/env", objects(container, "env"), lacking)


def _add_mounts(patch: _Patch, path: str, container: KubeObject, wanted: list[KubeObject]) -> None:
    lacking = lacking_mounts(container, wanted)
    patch.add_items(f"{path}/volumeMounts", objects(container, "volumeMounts"), lacking)
