"""The chart with our images, installed in the cluster of the tests."""

from __future__ import annotations

import json
import time
from typing import Any

from cluster.kubectl import CommandError, get, helm, kubectl
from cluster.waiting import wait_until
from tools.images import IMAGES, ROOT

NAME = "dapr"
NAMESPACE = "dapr-system"
CHART = str(ROOT / "charts" / "dapr")
DEPLOYMENTS = ("dapr-operator", "dapr-sentry", "dapr-sidecar-injector")


def values(**more: object) -> list[str]:
    """``--set`` for each value; a dot is written as two underscores."""
    wanted: dict[str, object] = {}
    if not _is_there("placement"):
        wanted["global.actors.enabled"] = False
    wanted.update({name.replace("__", "."): value for name, value in more.items()})
    return [word for name, value in wanted.items() for word in ("--set", f"{name}={_text(value)}")]


class Release:
    """Installed when it is first needed, and again after a test has taken it away."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """How long the last installation took until every pod was ready."""

    def ensure(self) -> None:
        """Have it installed with the values of the tests."""
        if (status := self._status()) == "deployed":
            return
        if status:  # somebody was interrupted
            self.uninstall()
        self.install()

    def is_installed(self) -> bool:
        """Whether helm knows of it, in whatever state."""
        return bool(self._status())

    def _status(self) -> str:
        listed = json.loads(helm("list", "--all", "-n", NAMESPACE, "-o", "json"))
        return next((str(each["status"]) for each in listed if each["name"] == NAME), "")

    def install(self, **more: object) -> None:
        """Install, and wait until every pod is ready."""
        started = time.monotonic()
        apart = ("-n", NAMESPACE, "--create-namespace", "--wait", "--timeout", "120s")
        try:
            helm("install", NAME, CHART, *apart, *values(**more))
        except CommandError as error:
            raise CommandError(f"{error}\n{self.report()}") from error
        self.seconds = time.monotonic() - started

    def upgrade(self, **more: object) -> None:
        """Install with other values, and wait until every pod is ready."""
        # Given no value, helm would keep those of the last time.
        apart = ("-n", NAMESPACE, "--reset-values", "--wait", "--timeout", "180s")
        try:
            helm("upgrade", NAME, CHART, *apart, *values(**more))
        except CommandError as error:
            raise CommandError(f"{error}\n{self.report()}") from error

    def uninstall(self) -> None:
        """Take it away, and wait until it is."""
        helm("uninstall", NAME, "-n", NAMESPACE, "--wait", "--timeout", "120s")

    def report(self) -> str:
        """What a person would look at when something is wrong."""
        told = [kubectl("get", "pods", "-A", "-o", "wide")]
        for pod in get("pods", "-n", NAMESPACE)["items"]:
            name = pod["metadata"]["name"]
            told.append(f"--- {name}\n{_logs(name)}")
            if any(each.get("restartCount") for each in pod["status"].get("containerStatuses", ())):
                told.append(f"--- {name}, before it was started again\n{_logs(name, '--previous')}")
        return "\n".join(told)


def _logs(pod: str, *which: str) -> str:
    try:
        return kubectl("logs", "-n", NAMESPACE, pod, "--tail=15", *which)
    except CommandError as error:
        return str(error)


def pods(app: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """The pods of a workload that are not on their way out."""
    found = get("pods", "-n", namespace, "-l", f"app={app}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def only_pod(app: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """The pod of a workload, as soon as those that it replaces are on their way out."""
    wait_until(lambda: len(pods(app, namespace)) == 1, 60, f"{app} has one pod")
    return pods(app, namespace)[0]


def rollout(workload: str, namespace: str = NAMESPACE, seconds: int = 120) -> None:
    """Wait until a workload is as it shall be."""
    kubectl(
        "rollout",
        "status",
        workload,
        "-n",
        namespace,
        f"--timeout={seconds}s",
        seconds=seconds + 5.0,
    )


def _is_there(folder: str) -> bool:
    return folder in IMAGES and (ROOT / folder / "Dockerfile").exists()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
