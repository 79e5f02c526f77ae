"""Components, Configurations and MCPServers as tables and records. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from dapr_cli import render
from dapr_cli.kube.pods import created
from dapr_common.kube.kinds import KubeObject

_HIDDEN = "daprsystem"  # the control plane's own
Row = dict[str, object]


def chosen(objects: Iterable[KubeObject], name: str = "") -> list[KubeObject]:
    """Those to show, namespaces in descending order; only those of one name when given."""
    found = [one for one in objects if one["metadata"]["name"] != _HIDDEN]
    if name:
        found = [one for one in found if one["metadata"]["name"] == name]
    found.sort(key=lambda one: str(one["metadata"]["name"]))
    found.sort(key=_namespace, reverse=True)
    return found


def records(objects: Iterable[KubeObject]) -> list[dict[str, Any]]:
    """What ``-o json`` and ``yaml`` print."""
    return [
        {
            "name": one["metadata"]["name"],
            "namespace": _namespace(one),
            "spec": one.get("spec") or {},
        }
        for one in objects
    ]


def component_row(body: KubeObject, now: datetime) -> Row:
    """A row of ``dapr components -k``."""
    spec = body.get("spec") or {}
    return {
        "NAMESPACE": body["metadata"]["namespace"],
        "NAME": body["metadata"]["name"],
        "TYPE": spec.get("type", ""),
        "VERSION": spec.get("version", ""),
        "SCOPES": _scopes(body),
        "CREATED": render.created(created(body)),
        "AGE": render.age((now - created(body)).total_seconds()),
    }


def configuration_row(body: KubeObject, now: datetime) -> Row:
    """A row of ``dapr configurations -k``."""
    spec = body.get("spec") or {}
    return {
        "NAMESPACE": body["metadata"]["namespace"],
        "NAME": body["metadata"]["name"],
        "TRACING-ENABLED": _truth(_is_traced(spec.get("tracing") or {})),
        "METRICS-ENABLED": _truth(_is_measured(spec)),
        "AGE": render.age((now - created(body)).total_seconds()),
        "CREATED": render.created(created(body)),
    }


def mcp_server_row(body: KubeObject, now: datetime) -> Row:
    """A row of ``dapr mcpservers``; one from a file has no time of its making."""
    transport, target = _endpoint(body.get("spec") or {})
    since = created(body) if body["metadata"].get("creationTimestamp") else None
    return {
        "NAMESPACE": _namespace(body),
        "NAME": body["metadata"]["name"],
        "TRANSPORT": transport,
        "TARGET": target,
        "SCOPES": _scopes(body),
        "CREATED": render.created(since) if since else "",
        "AGE": render.age((now - since).total_seconds()) if since else "",
    }


ROWS: Mapping[str, Callable[[KubeObject, datetime], Row]] = {
    "components": component_row,
    "configurations": configuration_row,
    "mcpservers": mcp_server_row,
}


def _namespace(body: KubeObject) -> str:
    return str(body["metadata"].get("namespace") or "")


def _scopes(body: KubeObject) -> str:
    return ",".join(map(str, body.get("scopes") or ()))


def _endpoint(spec: Mapping[str, Any]) -> tuple[str, str]:
    """How a server is reached, and where: its URL, or the program that is started."""
    for transport, ways in (spec.get("endpoint") or {}).items():
        if isinstance(ways, Mapping):
            return transport, str(ways.get("url") or ways.get("command") or "")
    return "", ""


def _is_traced(tracing: Mapping[str, Any]) -> bool:
    try:
        return float(tracing.get("samplingRate") or 0) > 0
    except (TypeError, ValueError):
        return False


def _is_measured(spec: Mapping[str, Any]) -> bool:
    """On unless it is off; ``metric`` is what the field was called first."""
    for name in ("metrics", "metric"):
        enabled = (spec.get(name) or {}).get("enabled")
        if enabled is not None:
            return bool(enabled)
    return True


def _truth(value: bool) -> str:
    return "true" if value else "false"
