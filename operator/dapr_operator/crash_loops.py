"""Sidecars that end again and again: an event says why, on the pod and on what made it."""

from __future__ import annotations

from dapr_common.kube.events import EventRecorder, Subject
from dapr_common.kube.informer import Change
from dapr_operator.pods import CrashLoop, Pod, Pods

_API_VERSIONS = {
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
}
_MOST_LINES = 5


class CrashLoopEvents:
    """Writes events from ``begin`` to ``end``."""

    def __init__(self, pods: Pods, events: EventRecorder) -> None:
        self._active = False
        self._pods = pods
        self._events = events
        pods.on_change(self._pod_changed)

    def begin(self) -> None:
        """Tell of what there is already, too: the next crash may be minutes away."""
        self._active = True
        for pod in self._pods.all:
            self._tell(pod)

    def end(self) -> None:
        """Another operator tells."""
        self._active = False

    def _pod_changed(self, change: Change[Pod | None]) -> None:
        before, after = change.before, change.after
        if not self._active or after is None:
            return
        if before is None or before.crash_loop != after.crash_loop:
            self._tell(after)

    def _tell(self, pod: Pod) -> None:
        if pod.crash_loop is None:
            return
        message = f"The sidecar ends again and again: {cause(pod.crash_loop)}"
        self._warn(Subject("v1", "Pod", pod.name, pod.namespace, pod.uid), message)
        if (owner := pod.owner) is not None and owner.kind in _API_VERSIONS:
            version = _API_VERSIONS[owner.kind]
            self._warn(Subject(version, owner.kind, owner.name, pod.namespace, owner.uid), message)

    def _warn(self, subject: Subject, message: str) -> None:
        self._events.report(subject, "SidecarCrashLooping", message)


def cause(crash_loop: CrashLoop) -> str:
    """The last words of the sidecar, or how it ended."""
    lines = [line.strip() for line in crash_loop.message.splitlines() if line.strip()]
    ended = "it ended"
    if crash_loop.exit_code is not None:
        ended = f"it ended with exit code {crash_loop.exit_code}"
    if crash_loop.reason and crash_loop.reason != "Error":
        ended = f"{ended} ({crash_loop.reason})"
    if not lines:
        return f"{ended}; its log says more: kubectl logs -c daprd --previous"
    return f"{ended}: {' '.join(lines[-_MOST_LINES:])}"
