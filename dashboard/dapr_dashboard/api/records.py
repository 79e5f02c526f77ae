"""Facts as records of the API: its names, its order, its types. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dapr_cli import render
from dapr_dashboard.model import App, ComponentFact, Live, ServiceFact, SpecFact
from dapr_dashboard.shapes import mapping

Record = dict[str, Any]


def instance(apps: Sequence[App], now: datetime, *, has_logs: bool, manifest: str = "") -> Record:
    """One application; ``apps`` are its replicas, at least one. A port or pid of 0 is not known."""
    first = apps[0]
    is_pod = bool(first.pod)
    http_port = _number(first.facts.get("HTTP port"))
    return {
        "appID": first.app_id,
        "httpPort": http_port,
        "grpcPort": _number(first.facts.get("gRPC port")),
        "appPort": _number(first.facts.get("App port")),
        "command": str(mapping(first.live.metadata.get("extended")).get("appCommand", "")),
        **_times(min(app.created for app in apps), now),
        "pid": 0 if is_pod else _number(first.name),
        "replicas": len(apps),
        "address": f"{first.app_id}-dapr:80" if is_pod else f"localhost:{http_port}",
        "supportsDeletion": False,
        "supportsLogs": has_logs,
        "manifest": manifest,
        "status": _status(apps),
        "labels": first.facts.get("Labels", ""),
        "selector": f"app={first.labels['app']}" if "app" in first.labels else "",
        "config": first.configuration,
    }


def _status(apps: Sequence[App]) -> str:
    """Of several replicas that of the first which is not well."""
    worst = next((app for app in apps if app.live.health != "good"), apps[0])
    return worst.live.state


def metadata(live: Live) -> Record:
    """What a sidecar says of itself."""
    said = live.metadata
    runtime = mapping(said.get("actorRuntime"))
    return {
        "id": said.get("id", ""),
        "runtimeVersion": live.version,
        "enabledFeatures": said.get("enabledFeatures", []),
        "actors": said.get("actors") or runtime.get("activeActors", []),
        "components": said.get("components", []),
        "subscriptions": said.get("subscriptions", []),
        "extended": said.get("extended", {}),
    }


def component(one: ComponentFact, now: datetime) -> Record:
    """A component's manifest and what stands out of it."""
    return {
        "name": one.name,
        "kind": "Component",
        "type": one.type,
        **_times(one.created, now),
        "scopes": list(one.scopes),
        "manifest": one.manifest,
    }


def configuration(one: SpecFact, now: datetime) -> Record:
    """A Configuration and what stands out of it."""
    mtls = one.section("mtls")
    return {
        "name": one.name,
        "kind": "Configuration",
        **_times(one.created, now),
        "tracingEnabled": one.is_traced,
        "samplingRate": one.sampling_rate,
        "metricsEnabled": one.is_measured,
        "mtlsEnabled": one.has_mtls,
        "mtlsWorkloadTTL": str(mtls.get("workloadCertTTL") or ""),
        "mtlsClockSkew": str(mtls.get("allowedClockSkew") or ""),
        "manifest": one.manifest,
    }


def service(one: ServiceFact, now: datetime) -> Record:
    """One pod of the control plane, or the address of a service of this machine."""
    namespace, slash, name = one.place.rpartition("/")
    return {
        "service": one.name,
        "name": name if slash else one.place,
        "namespace": namespace,
        "healthy": str(one.health == "good"),
        "status": one.state,
        "version": one.version,
        **_times(one.created, now),
    }


def _times(created: datetime | None, now: datetime) -> Mapping[str, str]:
    if created is None:
        return {"created": "", "age": ""}
    age = render.age((now - created).total_seconds())
    return {"created": render.created(created), "age": age}


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
