"""Pods → applications and services of the control plane. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from dapr_cli.instances import read_flags
from dapr_cli.kube.pods import SERVICES, SIDECAR, created, image_tag
from dapr_common.kube.kinds import KubeObject
from dapr_dashboard import masking
from dapr_dashboard.masking import command
from dapr_dashboard.model import App, Health, Live, Place, ServiceFact

CONTROL_PLANE = (*SERVICES, "dapr-dashboard")
_PUBLIC_PORT, _METRICS_PORT = "3501", "9090"
Address = Callable[[KubeObject, str], str]
"""Of a port of a pod, a URL without a path; empty when it has none yet."""


def app_of(pod: KubeObject, address: Address) -> App | None:
    """``None`` for a pod without a sidecar."""
    if (sidecar := _container(pod, SIDECAR)) is None:
        return None
    words = [*map(str, sidecar.get("command") or ()), *map(str, sidecar.get("args") or ())]
    flags = read_flags(words)
    metadata, status = pod["metadata"], pod.get("status") or {}
    health, state, restarts = _state(pod, SIDECAR)
    port = flags.get("app-port", "0")
    metrics = flags.get("metrics-port") or _METRICS_PORT
    is_measured = flags.get("enable-metrics", "true") != "false"
    return App(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata["name"]),
        app_id=flags.get("app-id", ""),
        created=created(pod),
        place=Place(
            api=address(pod, flags.get("dapr-public-port") or _PUBLIC_PORT),
            metrics=_metrics(address(pod, metrics)) if is_measured else "",
        ),
        live=Live(health, state),
        facts={
            "App port": "" if port == "0" else port,
            "App protocol": flags.get("app-protocol", ""),
            "HTTP port": flags.get("dapr-http-port", "3500"),
            "gRPC port": flags.get("dapr-grpc-port", "50001"),
            "Pod": str(status.get("phase") or ""),
            "Pod's address": str(status.get("podIP") or ""),
            "Node": str((pod.get("spec") or {}).get("nodeName") or ""),
            "Sidecar's restarts": str(restarts) if restarts else "",
            "Sidecar's image": str(sidecar.get("image") or ""),
            "Sidecar's command": command(words),
            "Labels": ", ".join(_pairs(metadata.get("labels"))),
        },
        version=image_tag(str(sidecar.get("image") or "")),
        containers=tuple(str(each.get("name")) for each in _containers(pod)),
        configuration=flags.get("config", ""),
        labels={str(name): str(value) for name, value in (metadata.get("labels") or {}).items()},
        pod=pod,
    )


def manifest(app: App) -> str:
    """The app's pod as YAML, without secrets."""
    about = {"apiVersion": "v1", "kind": "Pod"}
    return yaml.safe_dump(
        masking.document({**about, **app.pod}), sort_keys=False, allow_unicode=True
    )


def service_of(pod: KubeObject) -> ServiceFact:
    """A pod of the control plane."""
    metadata = pod["metadata"]
    own = _containers(pod)[0]
    health, state, restarts = _state(pod, str(own.get("name")))
    return ServiceFact(
        name=str(metadata["labels"]["app"]),
        place=f"{metadata['namespace']}/{metadata['name']}",
        health=health,
        state=f"{state}, {restarts} restarts" if restarts else state,
        version=image_tag(str(own.get("image") or "")),
        created=created(pod),
    )


def metrics_url(pod: KubeObject, address: Address) -> str:
    """Where a service of the control plane tells its metrics, as its arguments say."""
    own = _containers(pod)[0]
    flags = read_flags([*map(str, own.get("command") or ()), *map(str, own.get("args") or ())])
    return _metrics(address(pod, flags.get("metrics-port") or _METRICS_PORT))


def _metrics(url: str) -> str:
    return f"{url}/" if url else ""


def _containers(pod: KubeObject) -> Sequence[Mapping[str, Any]]:
    """Native sidecars are init containers that stay."""
    spec = pod.get("spec") or {}
    staying = (
        each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    )
    return [*(spec.get("containers") or ()), *staying]


def _container(pod: KubeObject, name: str) -> Mapping[str, Any] | None:
    return next((each for each in _containers(pod) if each.get("name") == name), None)


def _state(pod: KubeObject, container: str) -> tuple[Health, str, int]:
    """Health, words, restarts, as the kubelet tells them."""
    status = pod.get("status") or {}
    lists: Iterable[Any] = (
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    )
    found = next((each for each in lists if each.get("name") == container), None)
    if found is None:
        return "unknown", str(status.get("phase") or "unknown").lower(), 0
    restarts, state = int(found.get("restartCount") or 0), found.get("state") or {}
    if found.get("ready"):
        return "good", "ready", restarts
    for word in ("waiting", "terminated"):
        if word in state:
            reason = (state[word] or {}).get("reason") or ""
            return "bad", f"{word} ({reason})" if reason else word, restarts
    return "warn", "running, not ready", restarts


def _pairs(labels: Any) -> list[str]:
    return [f"{name}={value}" for name, value in sorted((labels or {}).items())]
