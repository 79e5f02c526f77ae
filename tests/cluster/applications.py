"""Applications for end-to-end tests: one Deployment each, a store, and calls from inside a pod."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import yaml
from cluster.kubectl import CommandError, get, kubectl
from cluster.release import pods, rollout
from cluster.scripts import APP, Script, beside_pod, in_pod
from cluster.waiting import wait_until
from tools.images import image_name

_REDIS = "redis"


class Space:
    """A namespace of one test, with what it needs."""

    def __init__(self, prefix: str) -> None:
        self.name = f"{prefix}-{secrets.token_hex(3)}"
        kubectl("create", "namespace", self.name)
        scripts = (f"--from-file={path}" for path in sorted(APP.glob("*.py")))
        kubectl("create", "configmap", "app", "-n", self.name, *scripts)

    def remove(self) -> None:
        """Delete everything in it."""
        kubectl("delete", "namespace", self.name, "--wait=false")

    def apply(self, *objects: Mapping[str, Any]) -> str:
        """``kubectl apply``. Raises ``CommandError``."""
        return kubectl("apply", "-n", self.name, "-f", "-", text=yaml.safe_dump_all(objects))

    def store(self) -> None:
        """A Redis of its own, as state store and broker."""
        self.apply(_redis_deployment(), _REDIS_SERVICE)
        rollout(f"deployment/{_REDIS}", self.name)
        self.apply(
            component("statestore", "state.redis", redisHost=f"{_REDIS}:6379"),
            component("pubsub", "pubsub.redis", redisHost=f"{_REDIS}:6379", concurrency="1"),
        )

    def pair(self, *, replicas: int = 1, **annotations: str) -> None:
        """A store, and ``source`` and ``target`` that use it."""
        self.store()
        self.app("target", replicas=replicas, wait=False, **annotations)
        self.app("source", **annotations)
        rollout("deployment/target", self.name)

    def app(self, app_id: str, *, replicas: int = 1, wait: bool = True, **annotations: str) -> None:
        """A Deployment with sidecars."""
        self.apply(deployment(app_id, replicas, annotations))
        if wait:
            rollout(f"deployment/{app_id}", self.name)

    def call(self, app_id: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Call an application's own sidecar. Returns the status and the body, parsed."""
        words = [method, path] + ([] if body is None else [json.dumps(body)])
        found = json.loads(self.inside(app_id, *words))
        text = found["body"]
        return int(found["status"]), json.loads(text) if text else None

    def watch(self, app_id: str, path: str, *, beside: bool = False) -> Script:
        """Ask an application's own sidecar all the time, until the block is left."""
        return self.script(app_id, "call.py", "watch", path, beside=beside)

    def script(self, app_id: str, *words: str, beside: bool = False) -> Script:
        """Start one in a pod of an application, or beside it, where no API server is needed."""
        if beside:
            return beside_pod(self.pods(app_id)[0], *words)
        return in_pod(self.name, app_id, *words)

    def measure(self, app_id: str, count: int, *request: str) -> list[float]:
        """How long calls of an application's own sidecar took, in seconds."""
        took = json.loads(self.inside(app_id, "measure", str(count), *request))
        return [float(each) for each in took]

    def log(self, app_id: str) -> str:
        """What the sidecar has written."""
        return kubectl("logs", "-n", self.name, f"deploy/{app_id}", "-c", "daprd")

    def await_log(self, app_id: str, text: str, times: int = 1) -> None:
        """Wait until the sidecar has written something so often."""
        wait_until(lambda: self.log(app_id).count(text) >= times, 30, f"{app_id} logs {text}")

    def received(self, app_id: str) -> list[Any]:
        """What an application was sent by its subscription."""
        found = self.call(app_id, "GET", f"/v1.0/invoke/{app_id}/method/received")[1]
        return list(found)

    def inside(self, app_id: str, *words: str, within: float = 60.0) -> str:
        """Run ``call.py`` in one of an application's pods."""
        target = ("exec", "-n", self.name, f"deploy/{app_id}", "-c", "app", "--")
        return kubectl(*target, "python3", "/app/call.py", *words, seconds=within)

    def pods(self, app_id: str) -> list[dict[str, Any]]:
        """Of one application."""
        return pods(app_id, self.name)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object. Raises ``CommandError``."""
        return get(kind, name, "-n", self.name)

    def exists(self, kind: str, name: str) -> bool:
        """Whether an object is there."""
        try:
            self.get(kind, name)
        except CommandError:
            return False
        return True


def resource(kind: str, name: str, api: str = "v1alpha1", /, **spec: Any) -> dict[str, Any]:
    """One of Dapr's kinds, of a version of its API."""
    return {
        "apiVersion": f"dapr.io/{api}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def component(name: str, kind: str, *, version: str = "v1", **metadata: str) -> dict[str, Any]:
    """A Component."""
    settings = [{"name": key, "value": value} for key, value in metadata.items()]
    return resource("Component", name, type=kind, version=version, metadata=settings)


def has_sidecar(pod: Mapping[str, Any]) -> bool:
    """Whether the injector saw it."""
    spec = pod["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", ())]
    return any(container["name"] == "daprd" for container in containers)


def deployment(app_id: str, replicas: int, annotations: Mapping[str, str]) -> dict[str, Any]:
    """An application in the sidecar's image, with the scripts from a ConfigMap."""
    wanted = {
        "dapr.io/enabled": "true",
        "dapr.io/app-id": app_id,
        "dapr.io/app-port": "8000",
        **{f"dapr.io/{name.replace('_', '-')}": text for name, text in annotations.items()},
    }
    container = {
        "name": "app",
        "image": image_name("sidecar"),
        "command": ["python3", "/app/app.py"],
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app_id},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app_id}},
            "template": {
                "metadata": {"labels": {"app": app_id}, "annotations": wanted},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "app", "configMap": {"name": "app"}}],
                    "terminationGracePeriodSeconds": 5,
                },
            },
        },
    }


def _redis_deployment() -> dict[str, Any]:
    container = {
        "name": _REDIS,
        "image": image_name("tests/cluster/redis"),
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _REDIS},
        "spec": {
            "selector": {"matchLabels": {"app": _REDIS}},
            "template": {
                "metadata": {"labels": {"app": _REDIS}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


_REDIS_SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": _REDIS},
    "spec": {"selector": {"app": _REDIS}, "ports": [{"port": 6379}]},
}
