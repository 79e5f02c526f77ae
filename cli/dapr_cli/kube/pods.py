"""What pods say of Dapr: which have a sidecar, for which app, and how the control plane is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dapr_cli import render
from dapr_cli.instances import read_flags
from dapr_common.kube.kinds import KubeObject

SIDECAR = "daprd"
# In the order in which they are shown; the value of a pod's label app.
SERVICES = (
    "dapr-operator",
    "dapr-sentry",
    "dapr-placement",
    "dapr-placement-server",
    "dapr-sidecar-injector",
    "dapr-scheduler-server",
)
_SERVICE_LABEL = "app"


@dataclass(frozen=True, slots=True)
class SidecarPod:
    """A pod with a sidecar, as its arguments tell."""

    namespace: str
    name: str
    app_id: str
    app_port: str
    created: datetime

    @classmethod
    def of(cls, pod: KubeObject) -> SidecarPod | None:
        """``None`` when there is no sidecar in the pod."""
        spec = pod.get("spec") or {}
        # Native sidecars are init containers that stay.
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            if container.get("name") == SIDECAR:
                words = (*(container.get("command") or ()), *(container.get("args") or ()))
                flags = read_flags(words)
                port = flags.get("app-port", "")
                metadata = pod["metadata"]
                return cls(
                    str(metadata.get("namespace") or ""),
                    str(metadata["name"]),
                    flags.get("app-id", ""),
                    "" if port == "0" else port,
                    created(pod),
                )
        return None


def sidecar_pods(pods: Iterable[KubeObject]) -> list[SidecarPod]:
    """Those of the pods that have a sidecar, in the order of namespaces and names."""
    found = [one for pod in pods if (one := SidecarPod.of(pod)) is not None]
    return sorted(found, key=lambda one: (one.namespace, one.app_id, one.name))


def sidecar_rows(pods: Sequence[SidecarPod], now: datetime) -> list[dict[str, object]]:
    """Rows of ``dapr list -k``."""
    return [
        {
            "NAMESPACE": pod.namespace,
            "APP_ID": pod.app_id,
            "APP_PORT": pod.app_port,
            "AGE": render.age((now - pod.created).total_seconds()),
            "CREATED": render.created(pod.created),
        }
        for pod in pods
    ]


def sidecar_records(pods: Sequence[SidecarPod], now: datetime) -> list[dict[str, Any]]:
    """The same as ``-o json`` and ``yaml`` print it."""
    return [
        {
            "namespace": pod.namespace,
            "appId": pod.app_id,
            "appPort": pod.app_port,
            "age": render.age((now - pod.created).total_seconds()),
            "created": render.created(pod.created),
        }
        for pod in pods
    ]


def service_selector() -> str:
    """The label selector of the control plane's pods."""
    return f"{_SERVICE_LABEL} in ({','.join(SERVICES)})"


def status_rows(pods: Iterable[KubeObject], now: datetime) -> list[dict[str, object]]:
    """One row for each service of the control plane that has pods."""
    by_service: dict[str, list[KubeObject]] = {}
    for pod in pods:
        by_service.setdefault(pod["metadata"]["labels"][_SERVICE_LABEL], []).append(pod)
    return [_status(name, by_service[name], now) for name in SERVICES if name in by_service]


def status_record(row: Mapping[str, object]) -> dict[str, object]:
    """A row as ``-o json`` and ``yaml`` print it."""
    record = {name.lower(): value for name, value in row.items()}
    return {**record, "healthy": row["HEALTHY"] == "True"}


def _status(service: str, pods: Sequence[KubeObject], now: datetime) -> dict[str, object]:
    pod = pods[0]
    own = pod["spec"]["containers"][0]
    status = _of_container(pod, own.get("name"))
    since = created(pod)
    return {
        "NAME": service,
        "NAMESPACE": pod["metadata"]["namespace"],
        "HEALTHY": str(bool(status.get("ready"))),
        "STATUS": _state(pod, status),
        "REPLICAS": len(pods),
        "VERSION": image_tag(own.get("image") or ""),
        "AGE": render.age((now - since).total_seconds()),
        "CREATED": render.created(since),
    }


def _of_container(pod: KubeObject, name: str | None) -> dict[str, Any]:
    """The kubelet has them in the order of their names: the first need not be Dapr's."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((dict(one) for one in statuses if one.get("name") == name), {})


def _state(pod: KubeObject, container: dict[str, Any]) -> str:
    state = container.get("state") or {}
    if "running" in state:
        return "Running"
    if "waiting" in state:
        return f"Waiting ({(state['waiting'] or {}).get('reason', '')})"
    if "terminated" in state:
        return "Terminated"
    return str((pod.get("status") or {}).get("phase") or "")


def image_tag(image: str) -> str:
    """What follows the name of an image, without a digest; empty when nothing does."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def is_ready(pod: KubeObject) -> bool:
    """Whether all of it serves, as the kubelet says."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def created(body: KubeObject) -> datetime:
    """When the object was made."""
    return datetime.fromisoformat(body["metadata"]["creationTimestamp"])
