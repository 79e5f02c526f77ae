"""Containers that are components: some of the pod's own, some that Components declare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotation_reading import Warn
from dapr_injector.annotations import COMPONENT_CONTAINER, PREFIX
from dapr_injector.environment import COMPONENT_SOCKETS, variable
from dapr_injector.injection import Injection
from dapr_injector.pod import LONGEST_LABEL, SIDECAR, InjectionError, is_label, name_of, objects
from dapr_injector.volumes import component_sockets_mount

_NOT_IN_LABELS = re.compile(r"[^-a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentContainers:
    """The component containers of a pod once it is patched."""

    of_pod: frozenset[str] = frozenset()
    """Names of containers the pod has already: they are no app containers."""
    added: tuple[KubeObject, ...] = ()
    volumes: tuple[str, ...] = ()
    """What the added ones mount; the pod gets an empty volume of each name it lacks."""
    sockets_folder: str = ""
    """Where all of them, and the sidecar, have the components' sockets. Empty: there are none."""


def find_components(injection: Injection) -> ComponentContainers:
    """Which containers are components. Raises ``InjectionError``."""
    of_pod = _of_pod(injection)
    declared = list(_declared(injection)) if injection.annotations.inject_components else []
    if not of_pod and not declared:
        return ComponentContainers()
    _refuse_bad_names(injection, declared)
    folder = injection.annotations.sockets_folder or injection.settings.component_sockets_folder
    volumes = dict.fromkeys(
        name_of(mount) for one in declared for mount in objects(one, "volumeMounts")
    )
    return ComponentContainers(
        of_pod=of_pod,
        added=tuple(with_sockets(one, folder) for one in declared),
        volumes=tuple(volumes),
        sockets_folder=folder,
    )


def lacking_environment(container: KubeObject, wanted: list[KubeObject]) -> list[KubeObject]:
    """Those of the variables that a container does not have."""
    there = {name_of(one) for one in objects(container, "env")}
    return [one for one in wanted if name_of(one) not in there]


def lacking_mounts(container: KubeObject, wanted: list[KubeObject]) -> list[KubeObject]:
    """Those of the mounts whose volume and path a container does not have."""
    there = objects(container, "volumeMounts")
    names = {name_of(one) for one in there}
    paths = {one.get("mountPath") for one in there}
    return [
        one for one in wanted if name_of(one) not in names and one.get("mountPath") not in paths
    ]


def sockets_environment(folder: str) -> list[KubeObject]:
    """The variables of a component's container."""
    return [variable(COMPONENT_SOCKETS, folder)]


def with_sockets(container: KubeObject, folder: str) -> KubeObject:
    """A container that finds the folder of the sockets."""
    env = lacking_environment(container, sockets_environment(folder))
    mounts = lacking_mounts(container, [component_sockets_mount(folder)])
    return {
        "resources": {},
        **container,
        "env": [*objects(container, "env"), *env],
        "volumeMounts": [*objects(container, "volumeMounts"), *mounts],
    }


def _of_pod(injection: Injection) -> frozenset[str]:
    text = injection.annotations.pluggable_components
    named = dict.fromkeys(filter(None, map(str.strip, text.split(","))))
    there = {name_of(container) for container in injection.pod.containers}
    for name in named:
        if name not in there:
            injection.warn(
                f"{PREFIX}pluggable-components names {name[:60]}, ignored: the pod has no such "
                "container"
            )
    return frozenset(there.intersection(named))


def _declared(injection: Injection) -> Iterator[KubeObject]:
    """One container per image, from the Components this app may use."""
    images: set[str] = set()
    for component in injection.facts.components:
        metadata = component.get("metadata") or {}
        scopes = component.get("scopes") or []
        text = (metadata.get("annotations") or {}).get(COMPONENT_CONTAINER)
        if not text or (scopes and injection.app_id not in scopes):
            continue
        container = _parse(text, name_of(metadata), injection.warn)
        if container is not None and container["image"] not in images:
            images.add(container["image"])
            yield container


def _parse(text: str, component: str, warn: Warn) -> KubeObject | None:
    try:
        container = orjson.loads(text)
        image = container.get("image") if isinstance(container, dict) else None
        if not image or not isinstance(image, str):
            raise InjectionError("expected a container with an image")
        for key in ("env", "volumeMounts"):
            objects(container, key)
    except ValueError as error:  # JSON's and ours
        warn(f"{COMPONENT_CONTAINER} of Component {component} is ignored: {error}")
        return None
    return {"name": name_of(container) or _as_label(component), **_without_name(container)}


def _without_name(container: KubeObject) -> KubeObject:
    return {key: value for key, value in container.items() if key != "name"}


def _as_label(component: str) -> str:
    """A Component's name may have dots and be longer than a container's."""
    return _NOT_IN_LABELS.sub("-", component)[:LONGEST_LABEL].strip("-")


def _refuse_bad_names(injection: Injection, declared: list[KubeObject]) -> None:
    """The API server would refuse the pod as well, in words that do not lead to the Component."""
    taken = {SIDECAR}
    for container in (*injection.pod.containers, *injection.pod.init_containers):
        taken.add(name_of(container))
    for container in declared:
        name = name_of(container)
        if not is_label(name):
            raise InjectionError(
                f"a Component declares a container named '{name}': give it a name of lower case "
                f"letters, digits and '-' in its annotation {COMPONENT_CONTAINER}"
            )
        if name in taken:
            raise InjectionError(
                f"a Component declares a container named '{name}', which the pod has already: "
                f"give it another name in its annotation {COMPONENT_CONTAINER}"
            )
        taken.add(name)
        for mount in objects(container, "volumeMounts"):
            if not is_label(name_of(mount)):
                raise InjectionError(
                    f"the container '{name}' of a Component mounts a volume named "
                    f"'{name_of(mount)}', which no volume can be"
                )
