"""Flags of the dashboard, as one frozen record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dapr_common.flags import Flag, Parsed, Value
from dapr_common.program import SERVICE_FLAGS, ServiceSettings, SettingsError, port

# A dashboard on a laptop is one of many programs: it opens no more ports than it is told to.
_OTHERWISE: dict[str, Value] = {
    "log-level": "warn",
    "enable-metrics": False,
    "healthz-port": 0,
}
_BASE = "SERVER_BASE_HREF"
_HEALTHZ = "port of the health server (/healthz); 0: none"

FLAGS: tuple[Flag, ...] = (
    Flag("port", "int", 8080, "port of the pages"),
    Flag("address", "string", "localhost", "address of the pages"),
    Flag("kubernetes", "bool", False, "look at the cluster of your kubeconfig"),
    Flag("namespace", "string", "", "look at one namespace of the cluster only"),
    Flag(
        "control-plane-namespace",
        "string",
        "",
        "look for the control plane in this namespace only; empty: in all",
    ),
    Flag("allowed-hosts", "stringSlice", [], "host names beside localhost to be asked by"),
    Flag("zipkin-port", "int", 9411, "port that takes spans (/api/v2/spans); 0: none"),
    Flag("runtime-path", "string", "", "where the .dapr directory lies; empty: your home"),
    *(
        replace(
            flag,
            default=_OTHERWISE.get(flag.name, flag.default),
            help=_HEALTHZ if flag.name == "healthz-port" else flag.help,
        )
        for flag in SERVICE_FLAGS
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the command line says. A port of 0 is not opened, except ``port``: any."""

    port: int
    address: str
    kubernetes: bool
    namespace: str
    control_plane_namespace: str
    allowed_hosts: tuple[str, ...]
    zipkin_port: int
    runtime_path: str
    is_in_cluster: bool
    """Whether pods can be asked at their own addresses."""
    base_path: str
    """Below which a proxy shows the pages, such as ``/dapr``; empty: at the root."""
    service: ServiceSettings


def read(parsed: Parsed, environment: Mapping[str, str]) -> Settings:
    """Raises ``SettingsError``."""
    return Settings(
        port=port(parsed, "port"),
        address=parsed.text("address") or "localhost",
        kubernetes=parsed.flag("kubernetes"),
        namespace=parsed.text("namespace"),
        control_plane_namespace=parsed.text("control-plane-namespace"),
        allowed_hosts=tuple(parsed.texts("allowed-hosts")),
        zipkin_port=port(parsed, "zipkin-port"),
        runtime_path=parsed.text("runtime-path"),
        is_in_cluster=bool(environment.get("KUBERNETES_SERVICE_HOST")),
        base_path=_base_path(environment.get(_BASE, "")),
        service=ServiceSettings.read(parsed),
    )


def _base_path(text: str) -> str:
    if not (path := text.strip("/")):
        return ""
    if not re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*", path):
        raise SettingsError(f"{_BASE} must be a path such as /dapr, but is {text!r}")
    return f"/{path}"
