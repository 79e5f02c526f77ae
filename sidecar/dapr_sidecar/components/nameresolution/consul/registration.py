"""What this sidecar registers at the agent. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dapr_common.aio.host import join_host_port
from dapr_sidecar.components.nameresolution.base import Instance
from dapr_sidecar.components.nameresolution.consul.settings import ConsulSettings

_INTERVAL = "15s"


def registration(settings: ConsulSettings, instance: Instance) -> dict[str, Any] | None:
    """The body of the agent's registration call; ``None`` when nothing is to be registered.

    Raises ``ValueError`` for a service without an application.
    """
    port = {settings.port_key: str(instance.internal_port)}
    if settings.advanced_registration is not None:
        return _advanced(settings.advanced_registration, port)
    if not settings.self_register:
        return None
    if not instance.app_port:
        raise ValueError("metadata property missing: APP_PORT")
    service_id = f"{instance.app_id}-{instance.host_address}-{instance.http_port}"
    return {
        "ID": service_id,
        "Name": instance.app_id,
        "Address": instance.host_address,
        "Port": instance.app_port,
        "Tags": list(settings.tags),
        "Meta": {**settings.meta, **port},
        "Checks": settings.checks or [_own_health(service_id, instance)],
    }


def registered_id(body: Mapping[str, Any]) -> str:
    """The id an agent keeps a registration under."""
    return str(body.get("ID") or body.get("Name", ""))


def _advanced(given: Mapping[str, Any], port: Mapping[str, str]) -> dict[str, Any]:
    # A port that somebody wrote down is meant: it may be that of a proxy before the sidecar.
    return {**given, "Meta": {**port, **given.get("Meta", {})}}


def _own_health(service_id: str, instance: Instance) -> dict[str, Any]:
    where = join_host_port(instance.host_address, instance.http_port)
    return {
        "Name": "Dapr Health Status",
        "CheckID": f"daprHealth:{service_id}",
        "Interval": _INTERVAL,
        "HTTP": f"http://{where}/v1.0/healthz?appid={instance.app_id}",
    }
