"""Which Kubernetes secrets an object names, and the object with their values in place."""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.kinds import KubeObject
from dapr_operator.kinds import COMPONENT, CONFIGURATION, HTTP_ENDPOINT, MCP_SERVER, DaprKind

Secret = Mapping[str, str]
"""Key → base64 text, as the API has it."""
_OURS = ("", "kubernetes")
_TLS_PARTS = ("certificate", "privateKey", "rootCA")
_MCP_LISTS = (("streamableHTTP", "headers"), ("sse", "headers"), ("stdio", "env"))


@dataclass(frozen=True, slots=True)
class Filled:
    """An object with every value that could be had; ``missing`` says which could not, and why."""

    body: KubeObject
    missing: tuple[str, ...] = ()


def secret_names(kind: DaprKind, body: KubeObject) -> frozenset[str]:
    """The secrets of its namespace that an object takes values from."""
    return frozenset(str(entry["secretKeyRef"]["name"]) for entry in _entries(kind, body))


def fill(kind: DaprKind, body: KubeObject, secrets: Mapping[str, Secret | None]) -> Filled:
    """Put values in. What is missing stays as it is: its sidecars say what they lack it for."""
    filled = copy.deepcopy(body)
    missing: list[str] = []
    for entry in _entries(kind, filled):
        reference = entry["secretKeyRef"]
        name = str(reference["name"])
        key = str(reference.get("key") or name)
        secret = secrets.get(name)
        what = f"{entry.get('name') or 'a value'}: "
        if secret is None:
            missing.append(f"{what}there is no secret '{name}'")
        elif key not in secret:
            missing.append(f"{what}secret '{name}' has no key '{key}'")
        else:
            entry["value"] = _plain(secret[key]) if kind == CONFIGURATION else secret[key]
    return Filled(filled, tuple(missing))


def _entries(kind: DaprKind, body: KubeObject) -> Iterator[dict[str, Any]]:
    """The entries of an object, as parts of it, whose value is in a secret of Kubernetes."""
    find = _FINDERS.get(kind)
    store = _mapping(body.get("auth")).get("secretStore") or ""
    if find is None or store not in _OURS:
        return
    for entry in find(_mapping(body.get("spec"))):
        if isinstance(entry, dict) and _mapping(entry.get("secretKeyRef")).get("name"):
            yield entry


def _of_component(spec: Mapping[str, Any]) -> Iterator[Any]:
    yield from spec.get("metadata") or ()


def _of_http_endpoint(spec: Mapping[str, Any]) -> Iterator[Any]:
    yield from spec.get("headers") or ()
    tls = _mapping(spec.get("clientTLS"))
    for part in _TLS_PARTS:
        yield tls.get(part)


def _of_mcp_server(spec: Mapping[str, Any]) -> Iterator[Any]:
    endpoint = _mapping(spec.get("endpoint"))
    for transport, name in _MCP_LISTS:
        yield from _mapping(endpoint.get(transport)).get(name) or ()


def _of_configuration(spec: Mapping[str, Any]) -> Iterator[Any]:
    otel = _mapping(_mapping(spec.get("tracing")).get("otel"))
    yield from otel.get("headers") or ()


_FINDERS: dict[DaprKind, Callable[[Mapping[str, Any]], Iterator[Any]]] = {
    COMPONENT: _of_component,
    CONFIGURATION: _of_configuration,
    HTTP_ENDPOINT: _of_http_endpoint,
    MCP_SERVER: _of_mcp_server,
}


def _plain(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
