"""Volumes of an injected pod, and what the sidecar mounts."""

from __future__ import annotations

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotations import PREFIX
from dapr_injector.injection import Injection
from dapr_injector.pod import name_of

SOCKET_FOLDER = "/var/run/dapr-sockets"
"""Where the sidecar has the sockets that the app finds in a folder of its choice."""
_SOCKET_VOLUME = "dapr-unix-domain-socket"
_IDENTITY_VOLUME = "dapr-identity-token"
_IDENTITY_FOLDER = "/var/run/secrets/dapr.io/sentrytoken"
_COMPONENT_SOCKETS_VOLUME = "dapr-components-unix-domain-socket"
_IDENTITY_SECONDS = 7200
_OWNER_MAY_WRITE = 0o644


def empty_volume(name: str) -> KubeObject:
    """A folder that lives as long as the pod."""
    return {"name": name, "emptyDir": {}}


def component_sockets_volume() -> KubeObject:
    """What pluggable components and the sidecar share."""
    return empty_volume(_COMPONENT_SOCKETS_VOLUME)


def component_sockets_mount(folder: str) -> KubeObject:
    """The same, inside a container."""
    return {"name": _COMPONENT_SOCKETS_VOLUME, "mountPath": folder}


def app_socket_mount(injection: Injection) -> KubeObject | None:
    """Where app containers find the sidecar's sockets, if they want them."""
    path = injection.annotations.unix_domain_socket_path
    return {"name": _SOCKET_VOLUME, "mountPath": path} if path else None


def sidecar_volumes(injection: Injection) -> list[KubeObject]:
    """What the sidecar needs and the pod may not have yet."""
    volumes: list[KubeObject] = []
    if injection.annotations.unix_domain_socket_path:
        volumes.append({"name": _SOCKET_VOLUME, "emptyDir": {"medium": "Memory"}})
    if injection.facts.has_identity_token:
        volumes.append(_identity_volume(str(injection.settings.sentry_id)))
    return volumes


def sidecar_mounts(injection: Injection) -> list[KubeObject]:
    """The user's, then Dapr's own; those for components come after them."""
    mounts = [
        *_user_mounts(injection, "volume-mounts", injection.annotations.volume_mounts),
        *_user_mounts(injection, "volume-mounts-rw", injection.annotations.volume_mounts_rw),
    ]
    if injection.annotations.unix_domain_socket_path:
        mounts.append({"name": _SOCKET_VOLUME, "mountPath": SOCKET_FOLDER})
    if injection.facts.has_identity_token:
        mounts.append(_mount(_IDENTITY_VOLUME, _IDENTITY_FOLDER, read_only=True))
    return mounts


def _identity_volume(audience: str) -> KubeObject:
    token = {"audience": audience, "expirationSeconds": _IDENTITY_SECONDS, "path": "token"}
    return {
        "name": _IDENTITY_VOLUME,
        "projected": {
            "sources": [{"serviceAccountToken": token}],
            "defaultMode": _OWNER_MAY_WRITE,
        },
    }


def _user_mounts(injection: Injection, annotation: str, text: str) -> list[KubeObject]:
    there = {name_of(volume) for volume in injection.pod.volumes}
    mounts = []
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, path = map(str.strip, entry.partition(":"))
        if not name or not path or ":" in path:
            injection.warn(
                f"{PREFIX}{annotation} has an entry that is not volume:path, ignored: {entry[:60]}"
            )
        elif name not in there:
            injection.warn(
                f"{PREFIX}{annotation} names the volume {name[:60]}, ignored: the pod has none of "
                "that name"
            )
        else:
            mounts.append(_mount(name, path, read_only=annotation == "volume-mounts"))
    return mounts


def _mount(name: str, path: str, *, read_only: bool) -> KubeObject:
    if read_only:
        return {"name": name, "readOnly": True, "mountPath": path}
    return {"name": name, "mountPath": path}
