"""What the pods of a run say: ready, or what keeps them from it; restarts and ends. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_cli.kube.pods import SIDECAR, is_ready
from dapr_cli.kube.readiness import pod_reason
from dapr_cli.kube.runs.manifests import APP_LABEL
from dapr_common.kube.kinds import KubeObject

_OVER = frozenset({"Succeeded", "Failed"})
NO_SIDECAR = (
    "its pod has no sidecar: the injector was not called when it began "
    "('dapr check -k' says what is wrong)"
)


@dataclass(frozen=True, slots=True)
class RunPod:
    """One pod of a run."""

    app_id: str
    name: str
    uid: str
    containers: tuple[str, ...]
    """The app's and the sidecar's, as far as they are in it."""
    restarts: Mapping[str, int]
    """How often each of them was started again."""
    last_ends: Mapping[str, str]
    """How each of them ended last, in words."""
    is_ready: bool
    is_over: bool
    """Whether none of it runs any more, nor will."""
    reason: str
    """What keeps it from being ready, in words; empty when it is."""

    @classmethod
    def of(cls, body: KubeObject) -> RunPod:
        """A pod as the API has it."""
        metadata, status = body["metadata"], body.get("status") or {}
        app_id = str(metadata["labels"][APP_LABEL])
        spec = body["spec"]
        # Native sidecars are init containers that stay.
        names = {
            one["name"] for part in ("containers", "initContainers") for one in spec.get(part) or ()
        }
        states = [
            one
            for part in ("containerStatuses", "initContainerStatuses")
            for one in status.get(part) or ()
            if one["name"] in (app_id, SIDECAR)
        ]
        own = tuple(name for name in (app_id, SIDECAR) if name in names)
        is_over = status.get("phase") in _OVER
        going = bool(metadata.get("deletionTimestamp"))
        reason = "" if is_ready(body) and not (is_over or going) else _why_not(body, states)
        if SIDECAR not in own:
            reason = NO_SIDECAR
        return cls(
            app_id=app_id,
            name=str(metadata["name"]),
            uid=str(metadata["uid"]),
            containers=own,
            restarts={one["name"]: int(one.get("restartCount") or 0) for one in states},
            last_ends={one["name"]: _end(one.get("lastState") or {}) for one in states},
            is_ready=not reason,
            is_over=is_over,
            reason=reason,
        )


def why_late(app_id: str, pods: Iterable[RunPod], failure: str) -> str:
    """What keeps an app from being ready; ``failure`` is what its Deployment says, if anything."""
    reasons = dict.fromkeys(pod.reason for pod in pods if pod.app_id == app_id)
    return "; ".join(reasons) or failure or "it has no pod yet"


def deployment_failure(body: KubeObject) -> str:
    """Why a Deployment cannot make its pods; empty when it can."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message") or condition.get("reason") or "")
    return ""


def _why_not(body: KubeObject, states: Sequence[Mapping[str, Any]]) -> str:
    status = body.get("status") or {}
    if status.get("phase") in _OVER:
        ended = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
        return f"its pod has ended{f' ({ended})' if ended else ''}"
    if body["metadata"].get("deletionTimestamp"):
        return "its pod is being deleted"
    for one in states:
        now = one.get("state") or {}
        if end := _end(now):
            return f"{one['name']} {end}"
        if (waiting := now.get("waiting")) and (end := _end(one.get("lastState") or {})):
            return f"{waiting.get('reason')}: {one['name']} {end}"
    # The sidecar may be an init container; what stands in its way counts as well.
    if found := pod_reason({"status": {**status, "containerStatuses": list(states)}}):
        return found
    late = [one["name"] for one in states if not one.get("ready")]
    if not late:
        return "its pod is being started"
    return f"{' and '.join(late)} did not pass the checks of the cluster yet"


def _end(state: Mapping[str, Any]) -> str:
    if not (ended := state.get("terminated")):
        return ""
    reason = ended.get("reason") or ""
    return f"ended with exit code {ended.get('exitCode')}{f' ({reason})' if reason else ''}"
