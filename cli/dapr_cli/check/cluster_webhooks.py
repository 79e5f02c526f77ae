"""The webhooks of a cluster: whether the API server calls them, and trusts who answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cryptography import x509

from dapr_cli.check.findings import Finding, Severity
from dapr_cli.kube.kinds import MUTATING_WEBHOOKS, SERVICES, VALIDATING_WEBHOOKS
from dapr_cli.kube.trust_bundle import find_bundles
from dapr_common.kube.api_errors import ForbiddenError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import Kind, KubeObject, Selection
from dapr_common.security.authority import BundleError
from dapr_common.security.x509 import CertificateError, read_certificates

_AREA = "webhooks"
_INJECTOR, _OPERATOR = "dapr-sidecar-injector", "dapr-operator"
_WEBHOOKS: Sequence[tuple[Kind, str, str, str]] = (
    (MUTATING_WEBHOOKS, "dapr-sidecar-injector", _INJECTOR, "pods get no sidecars"),
    (VALIDATING_WEBHOOKS, "dapr-validation", _OPERATOR, "wrong resources are not refused"),
)
_UPGRADE = "'dapr upgrade -k' brings it back (unless you turned it off in the chart's values)."

Certificates = list[x509.Certificate]


async def check_webhooks(client: KubeClient) -> AsyncIterator[Finding]:
    """The injector's and the operator's registrations."""
    anchors = await _anchors(client)
    for kind, name, program, effect in _WEBHOOKS:
        listing = await client.list_all(Selection(kind, fields=f"metadata.name={name}"))
        if not listing.items:
            severity: Severity = "error" if program == _INJECTOR else "warning"
            text = f"there is no such webhook: {effect}"
            yield Finding(severity, _AREA, name, text, _UPGRADE)
        for body in listing.items:
            for webhook in body.get("webhooks") or ():
                async for one in _webhook(client, body, webhook, program, effect, anchors):
                    yield one


async def _webhook(
    client: KubeClient,
    body: KubeObject,
    webhook: dict[str, Any],
    program: str,
    effect: str,
    anchors: Certificates,
) -> AsyncIterator[Finding]:
    subject = str(body["metadata"]["name"])
    config = webhook.get("clientConfig") or {}
    service = config.get("service") or {}
    where = str(service.get("namespace") or "")
    effect = _when_not_called(webhook, effect)
    log = f"kubectl -n {where} logs -l app={program}"
    restart = f"kubectl -n {where} rollout restart deployment {program}"
    bundle = _certificates(config.get("caBundle"))
    if not bundle:
        text = f"caBundle is missing or unreadable, the API server cannot call it: {effect}"
        yield Finding("error", _AREA, subject, text, f"{program} writes it: {log}; {restart}")
    elif anchors and not set(bundle) & set(anchors):
        text = f"caBundle has none of sentry's present trust anchors, calls fail: {effect}"
        yield Finding("error", _AREA, subject, text, f"{program} writes it: {restart}; {log}")
    if where and not await _exists(client, str(service.get("name")), where):
        text = f"its service {where}/{service.get('name')} does not exist: {effect}"
        yield Finding("error", _AREA, subject, text, _UPGRADE)


def _when_not_called(webhook: dict[str, Any], effect: str) -> str:
    if webhook.get("failurePolicy") == "Ignore":
        return f"{effect}, and nobody is told (failurePolicy Ignore)"
    return "what it is called for is refused (failurePolicy Fail)"


async def _exists(client: KubeClient, name: str, namespace: str) -> bool:
    try:
        await client.get(SERVICES, name, namespace)
    except NotFoundError:
        return False
    return True


async def _anchors(client: KubeClient) -> Certificates:
    """Those of sentry; none when they cannot be read, which another check says."""
    try:
        bundles = await find_bundles(client)
        return [anchor for bundle in bundles for anchor in bundle.authority().anchors]
    except (ForbiddenError, BundleError):
        return []


def _certificates(encoded: object) -> Certificates:
    try:
        return list(read_certificates(base64.b64decode(str(encoded or ""), validate=True)))
    except (binascii.Error, CertificateError, ValueError):
        return []
