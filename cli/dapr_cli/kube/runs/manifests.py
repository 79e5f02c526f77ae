"""An app of a run file → its Deployment and its Service. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_cli.errors import CliError
from dapr_cli.kube.annotation_flags import PREFIX, annotation_text
from dapr_cli.kube.pods import SIDECAR
from dapr_cli.settings import RunSettings
from dapr_common.kube.kinds import KubeObject

NAMESPACE = "default"
CONFIGURATION = "appconfig"
APP_LABEL = "app"
_SERVICE_PORT = 80
_SOCKETS = "unixDomainSocket"
# Key of the run file → annotation.
_ANNOTATIONS: Mapping[str, str] = {
    "appPort": "app-port",
    "appProtocol": "app-protocol",
    "appSSL": "app-ssl",
    "appChannelAddress": "app-channel-address",
    "appMaxConcurrency": "app-max-concurrency",
    "apiListenAddresses": "sidecar-listen-addresses",
    "daprGRPCPort": "grpc-port",
    "daprInternalGRPCPort": "internal-grpc-port",
    "metricsPort": "metrics-port",
    "enableProfiling": "enable-profiling",
    "logLevel": "log-level",
    "enableApiLogging": "enable-api-logging",
    "maxBodySize": "max-body-size",
    "readBufferSize": "read-buffer-size",
    "enableAppHealthCheck": "enable-app-health-check",
    "appHealthCheckPath": "app-health-check-path",
    "appHealthProbeInterval": "app-health-probe-interval",
    "appHealthProbeTimeout": "app-health-probe-timeout",
    "appHealthThreshold": "app-health-threshold",
    "placementHostAddress": "placement-host-address",
    "schedulerHostAddress": "scheduler-host-address",
    _SOCKETS: "unix-domain-socket-path",
}
_DESTINATIONS = frozenset({"appLogDestination", "daprdLogDestination"})  # of streamed logs


def check(app: RunSettings) -> None:
    """Refuse an app that cannot run on a cluster. Raises ``CliError``."""
    if not app.container.image:
        raise CliError(
            f"{app.container.place}: app {app.app_id}: 'containerImage' is required with -k",
            "Name the image that the cluster is to run: containerImage: registry/name:tag",
        )
    if app.app_id == SIDECAR:
        raise CliError(
            f"{app.container.place}: app {app.app_id}: that is the name of the sidecar's container",
            "Give the app another appID.",
        )
    if app.container.create_service and app.app_port <= 0:
        raise CliError(
            f"{app.container.place}: app {app.app_id}: 'createService' needs 'appPort'",
            "The Service passes its calls on to that port.",
        )


def without_effect(app: RunSettings) -> list[str]:
    """Keys that are set for an app and that a cluster has nothing for."""
    known = _ANNOTATIONS.keys() | _DESTINATIONS
    return [key for key in app.given if key not in known or not _is_usable(key, app.given[key])]


def deployment(app: RunSettings, *, configured: bool) -> KubeObject:
    """The Deployment; ``configured`` if there is a Configuration for its sidecar."""
    labels = {APP_LABEL: app.app_id}
    template: dict[str, Any] = {
        "metadata": {
            "labels": dict(labels),
            "annotations": _annotations(app, configured=configured),
        },
        "spec": {"containers": [_container(app)]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(app),
        "spec": {"replicas": 1, "selector": {"matchLabels": dict(labels)}, "template": template},
    }


def service(app: RunSettings) -> KubeObject | None:
    """The Service, if the app is to have one."""
    if not app.container.create_service:
        return None
    port = {"protocol": "TCP", "port": _SERVICE_PORT, "targetPort": app.app_port}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(app),
        "spec": {
            "type": "LoadBalancer",
            "selector": {APP_LABEL: app.app_id},
            "ports": [port],
        },
    }


def _metadata(app: RunSettings) -> dict[str, Any]:
    return {"name": app.app_id, "namespace": NAMESPACE, "labels": {APP_LABEL: app.app_id}}


def _container(app: RunSettings) -> dict[str, Any]:
    # What an app finds beside a sidecar of this machine, too; the injector adds Dapr's ports.
    own = {"APP_ID": app.app_id, **({"APP_PORT": str(app.app_port)} if app.app_port > 0 else {})}
    body: dict[str, Any] = {
        "name": app.app_id,
        "image": app.container.image,
        "imagePullPolicy": app.container.pull_policy,
    }
    if app.command:
        body["command"] = list(app.command)
    body["env"] = [{"name": name, "value": text} for name, text in {**app.env, **own}.items()]
    if app.app_port > 0:
        body["ports"] = [{"containerPort": app.app_port}]
    return body


def _annotations(app: RunSettings, *, configured: bool) -> dict[str, str]:
    found = {"enabled": "true", "app-id": app.app_id}
    if configured:
        found["config"] = CONFIGURATION
    for key, name in _ANNOTATIONS.items():
        if key in app.given and _is_usable(key, app.given[key]):
            found[name] = annotation_text(app.given[key])
    if app.log_as_json:
        found["log-as-json"] = "true"
    return {f"{PREFIX}{name}": text for name, text in found.items()}


def _is_usable(key: str, value: object) -> bool:
    """A folder of this machine is none of the container; an absolute path may be one."""
    return key != _SOCKETS or str(value).startswith("/")
