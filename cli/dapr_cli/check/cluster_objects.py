"""Resources that sidecars cannot use, and pods that should have a sidecar."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from dapr_cli.check.findings import Finding
from dapr_cli.kube.kinds import RESOURCES
from dapr_cli.kube.pods import SidecarPod
from dapr_cli.kube.readiness import pod_reason
from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import PODS, KubeObject, Selection
from dapr_common.kube.validation.objects import validate

_ENABLED = "dapr.io/enabled"
_TRUE = frozenset({"y", "yes", "true", "on", "t", "1"})
_OVER = frozenset({"Succeeded", "Failed"})


async def check_resources(client: KubeClient, namespace: str) -> AsyncIterator[Finding]:
    """What admission would refuse, and what sidecars have told of."""
    for word, kind in RESOURCES.items():
        try:
            listing = await client.list_all(Selection(kind, namespace))
        except NotFoundError:
            continue  # the check of the kinds says so
        for body in listing.items:
            where = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
            for one in _resource(
                {**body, "apiVersion": f"{kind.group}/{kind.version}", "kind": word}, where
            ):
                yield one


def _resource(body: KubeObject, where: str) -> Iterator[Finding]:
    kind = str(body["kind"])
    subject = f"{kind} {where}"
    namespace, _, name = where.partition("/")
    edit = f"kubectl -n {namespace} edit {kind.lower()}s.dapr.io {name}".replace("ys.", "ies.")
    for problem in validate(body):
        yield Finding(problem.severity, "resources", subject, str(problem), f"{edit}: this field")
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "False":
            text = condition.get("message") or condition.get("reason") or "is not ready"
            fix = f"Start the server it uses, or {edit}; sidecars try again by themselves"
            yield Finding("error", "resources", subject, str(text), fix)


async def check_pods(client: KubeClient, namespace: str) -> AsyncIterator[Finding]:
    """Pods annotated for a sidecar: without one, or with one that is not ready."""
    for pod in (await client.list_all(Selection(PODS, namespace))).items:
        metadata, status = pod["metadata"], pod.get("status") or {}
        if status.get("phase") in _OVER or metadata.get("deletionTimestamp"):
            continue
        annotations = metadata.get("annotations") or {}
        wanted = str(annotations.get(_ENABLED, "")).strip().lower() in _TRUE
        subject = f"{metadata['namespace']}/{metadata['name']}"
        found = SidecarPod.of(pod)
        if wanted and found is None:
            text = f"has {_ENABLED}=true, but no sidecar: the injector was not called when it began"
            yield Finding("error", "pods", subject, text, _restart(pod))
        elif found is not None and (reason := _not_ready(pod)):
            fix = f"kubectl -n {metadata['namespace']} logs {metadata['name']} -c daprd"
            yield Finding("error", "pods", subject, f"its sidecar is not ready: {reason}", fix)


def _restart(pod: KubeObject) -> str:
    metadata = pod["metadata"]
    owner = next((one["kind"] for one in metadata.get("ownerReferences") or ()), "")
    how = (
        "delete the pod, its owner makes another one"
        if owner
        else "make the pod again, nobody owns it"
    )
    return (
        f"Mend what is said of {'webhooks and the control plane'} above, then {how}: "
        f"kubectl -n {metadata['namespace']} delete pod {metadata['name']}"
    )


def _not_ready(pod: KubeObject) -> str:
    """Why the container ``daprd`` is not ready; empty when it is, or has not begun."""
    status = pod.get("status") or {}
    own = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    for container in own:
        if container.get("name") == "daprd" and not container.get("ready"):
            alone = {"status": {"containerStatuses": [container]}}
            return pod_reason(alone) or "it has not passed its checks"
    return ""
