"""What one application and its sidecar are to be started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DESTINATIONS = ("console", "file", "fileAndConsole")
PULL_POLICIES = ("Always", "Never", "IfNotPresent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSettings:
    """What a run file says of an app for a cluster only; ``image`` is empty when it says none."""

    image: str = ""
    pull_policy: str = "Always"
    create_service: bool = False
    place: str = ""
    """Where the file has the app, for messages: ``/shop/dapr.yaml, line 7``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of ``dapr run``. A port of 0 or less is not chosen yet; "" means not given."""

    app_id: str
    command: tuple[str, ...] = ()
    app_port: int = 0
    app_protocol: str = "http"
    app_channel_address: str = "127.0.0.1"
    app_max_concurrency: int = -1
    app_ssl: bool = False
    config: str = ""
    resources: tuple[str, ...] = ()
    http_port: int = -1
    grpc_port: int = -1
    internal_grpc_port: int = -1
    metrics_port: int = -1
    profile_port: int = -1
    enable_profiling: bool = False
    listen_addresses: str = ""
    unix_domain_socket: str = ""
    log_level: str = "info"
    log_as_json: bool = False
    enable_api_logging: bool = False
    enable_python_components: bool = False
    max_body_size: str = "4Mi"
    read_buffer_size: str = "4Ki"
    enable_app_health_check: bool = False
    app_health_check_path: str = ""
    app_health_probe_interval: int = 0
    app_health_probe_timeout: int = 0
    app_health_threshold: int = 0
    placement_host_address: str = "localhost"
    scheduler_host_address: str = "localhost"
    sentry_address: str = "localhost:50001"
    """Who signs certificates, when the configuration turns mutual TLS on."""
    runtime_path: str = ""
    ready_line: bool = False
    """Print one line for programs once the sidecar and its app are up."""
    env: Mapping[str, str] = field(default_factory=dict)
    app_dir: Path | None = None
    daprd_log_destination: str = "file"
    app_log_destination: str = "fileAndConsole"
    container: ContainerSettings = ContainerSettings()
    given: Mapping[str, object] = field(default_factory=dict)
    """Keys that the run file sets for this app, or for all apps, with their values; paths are as
    they are written."""
