"""The pods that want a sidecar: a few words of each, for everybody who asks about pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change, Informer, Key
from dapr_common.kube.kinds import PODS, KubeObject, Selection
from dapr_operator.annotations import APP_ID, CONFIG, ENABLED, is_truthy

SIDECAR = "daprd"
INJECTED, PATCHED = "dapr.io/sidecar-injected", "dapr.io/watchdog-patched"
_CRASHES = frozenset({"CrashLoopBackOff"})


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that makes a pod anew when it is deleted."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """A sidecar that ends again and again, and how it ended last."""

    restarts: int
    exit_code: int | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod whose annotations ask for a sidecar."""

    namespace: str
    name: str
    uid: str
    app_id: str
    config: str
    owner: Owner | None
    is_marked: bool
    """By the injector, or by the watchdog."""
    has_sidecar: bool
    is_ending: bool
    is_for_injector: bool = True
    """Whether the injector goes by its annotation, which for that has to be the word ``true``."""
    crash_loop: CrashLoop | None = None

    @classmethod
    def of(cls, body: KubeObject) -> Pod | None:
        """``None`` for those that want no sidecar."""
        metadata = body["metadata"]
        annotations = metadata.get("annotations") or {}
        if not is_truthy(annotations.get(ENABLED)):
            return None
        labels = metadata.get("labels") or {}
        spec, status = body.get("spec") or {}, body.get("status") or {}
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        return cls(
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
            uid=str(metadata.get("uid") or ""),
            app_id=str(annotations.get(APP_ID) or metadata["name"]),
            config=str(annotations.get(CONFIG) or ""),
            owner=_owner(metadata),
            is_marked=INJECTED in labels or PATCHED in labels,
            has_sidecar=any(one.get("name") == SIDECAR for one in containers),
            is_ending=bool(metadata.get("deletionTimestamp"))
            or status.get("phase") in ("Succeeded", "Failed"),
            is_for_injector=str(annotations[ENABLED]).lower() == "true",
            crash_loop=_crash_loop(status),
        )

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


class Pods:
    """Follows the pods of one namespace, or of all."""

    def __init__(self, client: KubeClient, namespace: str = "") -> None:
        self._informer: Informer[Pod | None] = Informer(client, Selection(PODS, namespace), Pod.of)
        self._by_app: dict[Key, dict[Key, Pod]] = {}
        self._informer.on_change(self._index)
        self.synced = self._informer.synced
        self.run = self._informer.run

    @property
    def all(self) -> list[Pod]:
        """Every pod that wants a sidecar."""
        return [pod for pod in self._informer.objects.values() if pod is not None]

    def of_app(self, namespace: str, app_id: str) -> list[Pod]:
        """The pods of one app, in the order of their names."""
        found = self._by_app.get((namespace, app_id), {})
        return [found[key] for key in sorted(found)]

    def on_change(self, handler: Callable[[Change[Pod | None]], None]) -> None:
        """Call ``handler`` for every change."""
        self._informer.on_change(handler)

    def _index(self, change: Change[Pod | None]) -> None:
        if (old := change.before) is not None:
            app = (old.namespace, old.app_id)
            found = self._by_app.get(app, {})
            found.pop(old.key, None)
            if not found:
                self._by_app.pop(app, None)
        if (new := change.after) is not None:
            self._by_app.setdefault((new.namespace, new.app_id), {})[new.key] = new


def _owner(metadata: Mapping[str, Any]) -> Owner | None:
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return Owner(str(reference["kind"]), str(reference["name"]), str(reference["uid"]))
    return None


def _crash_loop(status: Mapping[str, Any]) -> CrashLoop | None:
    names = ("containerStatuses", "initContainerStatuses")
    for container in (one for name in names for one in status.get(name) or ()):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if container.get("name") == SIDECAR and waiting.get("reason") in _CRASHES:
            ended = (container.get("lastState") or {}).get("terminated") or {}
            return CrashLoop(
                restarts=int(container.get("restartCount") or 0),
                exit_code=ended.get("exitCode"),
                reason=str(ended.get("reason") or ""),
                message=str(ended.get("message") or ""),
            )
    return None
