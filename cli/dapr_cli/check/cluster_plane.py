"""The control plane of a cluster: its pods, and sentry's certificate authority."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from dapr_cli.check.findings import EXPIRY_WARNING, Finding, of_validity
from dapr_cli.kube.pods import SERVICES, is_ready, service_selector
from dapr_cli.kube.readiness import pod_reason, reason, workloads
from dapr_cli.kube.trust_bundle import NAME, find_bundles
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import PODS, Selection
from dapr_common.security.authority import BundleError

_PLANE, _CERTIFICATES = "control plane", "certificates"
_RENEW = "Run 'dapr mtls renew-certificate -k --restart'."
_NEEDED = ("dapr-operator", "dapr-sentry", "dapr-sidecar-injector")


async def check_control_plane(client: KubeClient, namespace: str) -> AsyncIterator[Finding]:
    """Its Deployments and StatefulSets; pods that nobody owns count by themselves."""
    parts = await workloads(client, namespace)
    pods = (await client.list_all(Selection(PODS, labels=service_selector()))).items
    if not parts and not pods:
        text = f"is not there: namespace {namespace} and all others have none of its pods"
        yield Finding("error", _PLANE, "Dapr", text, "Run 'dapr init -k'.")
        return
    for part in parts:
        if not part.is_ready:
            fix = f"kubectl -n {namespace} describe pods -l app={part.name}; and logs of the same"
            text = f"{part.ready} of {part.wanted} ready: {reason(part.name, pods)}"
            yield Finding("error", _PLANE, part.name, text, fix)
    named = {part.name for part in parts}
    for pod in pods:
        if pod["metadata"]["labels"]["app"] not in named and not is_ready(pod):
            where = pod["metadata"]["namespace"]
            name = pod["metadata"]["name"]
            text = f"is not ready: {pod_reason(pod) or 'it has not passed its checks yet'}"
            fix = f"kubectl -n {where} describe pod {name}"
            yield Finding("error", _PLANE, f"{where}/{name}", text, fix)
    seen = named | {pod["metadata"]["labels"]["app"] for pod in pods}
    for service in SERVICES:
        if service in _NEEDED and service not in seen:
            fix = "'dapr upgrade -k' brings it back."
            yield Finding("error", _PLANE, service, "is not installed", fix)


async def check_certificates(client: KubeClient, now: datetime) -> AsyncIterator[Finding]:
    """Sentry's Secret and ConfigMap, and when what they hold ends."""
    for bundle in await find_bundles(client):
        subject = f"{bundle.namespace}/{NAME}"
        try:
            authority = bundle.authority()
            root, agrees = authority.nearest_root, bundle.agrees()
        except BundleError as error:
            fix = f"Is sentry running? kubectl -n {bundle.namespace} logs -l app=dapr-sentry"
            yield Finding("error", _CERTIFICATES, subject, str(error), fix)
            continue
        for what, one in (("root", root), ("issuer", authority.issuer)):
            begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
            of = f"{what} certificate in {subject}"
            if found := of_validity(of, begins, ends, now, _RENEW, EXPIRY_WARNING):
                yield found
        if not agrees:
            text = "Secret and ConfigMap hold different trust anchors: new pods trust other ones"
            yield Finding("error", _CERTIFICATES, subject, text, _RENEW)
