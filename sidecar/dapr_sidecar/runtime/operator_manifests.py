"""What the operator sends → typed resources: JSON of whole objects, secrets in base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from dapr_common.kube.manifests import ManifestError, Resource, from_body

_BUILTIN_STORES = ("", None, "kubernetes")
_TLS_FIELDS = ("rootCA", "certificate", "privateKey")


@dataclass(frozen=True, slots=True)
class Received:
    """One object. ``resource`` is missing when it cannot be read, and ``fault`` says why."""

    name: str
    version: str
    resource: Resource | None
    fault: str = ""
    is_required: bool = True
    """Whether a sidecar that lacks it is in trouble."""


def receive(raw: bytes, kind: str, api_version: str) -> Received:
    """Read one payload; ``kind`` and ``api_version`` stand in where the object has none.

    Raises ``ManifestError`` when not even its name can be read.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ManifestError(f"the operator sent a {kind} that is no JSON: {error}") from error
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if not isinstance(metadata, dict):
        raise ManifestError(f"the operator sent a {kind} without metadata")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise ManifestError(f"the operator sent a {kind} without a name")
    version = str(metadata.get("resourceVersion") or "")
    whole = {**body, "kind": kind, "apiVersion": body.get("apiVersion") or api_version}
    try:
        _decode_secrets(whole)
        return Received(name, version, from_body(whole, "the operator"))
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        text = f"{kind} {name} cannot be read: {error}"
        return Received(name, version, None, text, is_required=not _ignores_errors(body))


def _ignores_errors(body: Mapping[str, Any]) -> bool:
    spec = body.get("spec")
    return isinstance(spec, Mapping) and spec.get("ignoreErrors") is True


def _decode_secrets(body: dict[str, Any]) -> None:
    """Put the text of Kubernetes secrets in the place of their base64."""
    auth = body.get("auth") or {}
    if auth.get("secretStore") not in _BUILTIN_STORES:
        return
    spec = body.get("spec") or {}
    if body["kind"] == "Component":
        body["spec"] = {**spec, "metadata": _decoded_list(spec.get("metadata"))}
    elif body["kind"] == "HTTPEndpoint":
        tls = dict(spec.get("clientTLS") or {})
        for field in _TLS_FIELDS:
            if tls.get(field):
                tls[field] = _decoded(tls[field], field)
        headers = _decoded_list(spec.get("headers"))
        body["spec"] = {**spec, "headers": headers, "clientTLS": tls}


def _decoded_list(entries: Any) -> Any:
    if not isinstance(entries, list):
        return entries
    return [
        _decoded(entry, entry.get("name")) if isinstance(entry, Mapping) else entry
        for entry in entries
    ]


def _decoded(entry: Mapping[str, Any], name: object) -> Mapping[str, Any]:
    value = entry.get("value")
    if not entry.get("secretKeyRef") or not isinstance(value, str):
        return entry
    try:
        text = base64.b64decode(value, validate=True).decode("utf-8")
    except binascii.Error:
        raise ManifestError(f"'{name}': the secret's value is no base64") from None
    except UnicodeDecodeError:
        raise ManifestError(f"'{name}': the secret's value is no text") from None
    return {**entry, "value": text}
