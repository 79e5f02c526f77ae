"""Every ``dapr.io/...`` annotation of a pod: one table, and one typed record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from dapr_injector.annotation_kinds import (
    BOOLEAN,
    DURATION,
    ENDPOINTS,
    INTEGER,
    PORT,
    POSITIVE_DURATION,
    RESOURCE,
    SIZE,
    TEXT,
    Annotation,
    annotation,
    choice,
)

PREFIX = "dapr.io/"
COMPONENT_CONTAINER = f"{PREFIX}component-container"
ENABLED = f"{PREFIX}enabled"
_PROTOCOL = choice("http", "https", "grpc", "grpcs", "h2c")
_LEVEL = choice("debug", "info", "warn", "warning", "error", "fatal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """What a pod asks for. ``None`` is not given, where that differs from empty."""

    enabled: bool = annotation("enabled", BOOLEAN, False, "the pod gets a sidecar")

    # --- the app ----------------------------------------------------------------------------
    app_id: str = annotation("app-id", TEXT, "", "the app's id; empty is the pod's name")
    app_port: int = annotation("app-port", PORT, 0, "port the app listens on; 0 is none")
    app_protocol: str = annotation("app-protocol", _PROTOCOL, "http", "protocol of the app's port")
    app_ssl: bool = annotation(
        "app-ssl", BOOLEAN, False, "the app's port speaks TLS", "app-protocol: https or grpcs"
    )
    app_channel_address: str = annotation(
        "app-channel-address", TEXT, "", "host where the app listens"
    )
    app_max_concurrency: int | None = annotation(
        "app-max-concurrency", INTEGER, None, "most calls into the app at a time"
    )
    app_health_check: bool = annotation(
        "enable-app-health-check", BOOLEAN, False, "probe the app's health"
    )
    app_health_path: str = annotation(
        "app-health-check-path", TEXT, "/healthz", "HTTP path that is probed"
    )
    app_health_interval: int = annotation(
        "app-health-probe-interval", INTEGER, 5, "seconds between two probes"
    )
    app_health_timeout: int = annotation(
        "app-health-probe-timeout", INTEGER, 500, "milliseconds a probe may take"
    )
    app_health_threshold: int = annotation(
        "app-health-threshold", INTEGER, 3, "failures in a row until the app is not healthy"
    )
    app_binding_options_timeout: str | None = annotation(
        "app-binding-options-timeout",
        DURATION,
        None,
        "how long the app may take to say which input bindings it wants",
    )
    app_token_secret: str = annotation(
        "app-token-secret", TEXT, "", "secret whose key token is shown to the app"
    )

    # --- the sidecar's API ------------------------------------------------------------------
    config: str = annotation("config", TEXT, "", "name of the Configuration")
    grpc_port: int = annotation("grpc-port", PORT, 50001, "port of the gRPC API")
    internal_grpc_port: int = annotation(
        "internal-grpc-port", PORT, 50002, "port for other sidecars"
    )
    listen_addresses: str = annotation(
        "sidecar-listen-addresses", TEXT, "[::1],127.0.0.1", "addresses of the APIs"
    )
    api_token_secret: str = annotation(
        "api-token-secret", TEXT, "", "secret whose key token callers of the API must show"
    )
    unix_domain_socket_path: str = annotation(
        "unix-domain-socket-path", TEXT, "", "folder of the app in which the API has its sockets"
    )
    max_body_size: str = annotation("max-body-size", SIZE, "", "largest request body")
    read_buffer_size: str = annotation("read-buffer-size", SIZE, "", "largest request headers")
    http_max_request_size: int | None = annotation(
        "http-max-request-size", INTEGER, None, "largest request body in MB", "max-body-size"
    )
    http_read_buffer_size: int | None = annotation(
        "http-read-buffer-size", INTEGER, None, "largest request headers in KB", "read-buffer-size"
    )
    disable_builtin_secret_store: bool = annotation(
        "disable-builtin-k8s-secret-store", BOOLEAN, False, "no secret store named kubernetes"
    )
    disable_init_endpoints: str | None = annotation(
        "disable-init-endpoints",
        ENDPOINTS,
        None,
        "endpoints of the app that are not asked at start",
    )
    jwt_audiences: str = annotation(
        "sentry-request-jwt-audiences", TEXT, "", "audiences of the JWT asked of sentry"
    )

    # --- logs, metrics, debugging -----------------------------------------------------------
    log_level: str = annotation("log-level", _LEVEL, "info", "least level written")
    log_as_json: bool = annotation("log-as-json", BOOLEAN, False, "log lines are JSON")
    api_logging: bool | None = annotation(
        "enable-api-logging", BOOLEAN, None, "log every call of the API"
    )
    metrics: bool = annotation("enable-metrics", BOOLEAN, True, "serve metrics")
    metrics_port: int = annotation("metrics-port", PORT, 9090, "port of the metrics")
    profiling: bool = annotation("enable-profiling", BOOLEAN, False, "serve profiles")
    debug: bool = annotation("enable-debug", BOOLEAN, False, "run the sidecar in a debugger")
    debug_port: int = annotation("debug-port", PORT, 40000, "port of the debugger")

    # --- the control plane ------------------------------------------------------------------
    placement_address: str | None = annotation(
        "placement-host-address", TEXT, None, "where placement is; empty is no actors"
    )
    scheduler_address: str | None = annotation(
        "scheduler-host-address", TEXT, None, "where the scheduler is"
    )
    actors_disseminate_timeout: str | None = annotation(
        "actors-disseminate-timeout",
        POSITIVE_DURATION,
        None,
        "how long a new actor table may take",
    )

    # --- the end ----------------------------------------------------------------------------
    graceful_shutdown_seconds: int = annotation(
        "graceful-shutdown-seconds", INTEGER, -1, "time to end in; -1 is the sidecar's default"
    )
    block_shutdown_duration: str | None = annotation(
        "block-shutdown-duration", DURATION, None, "how long the end waits for the app"
    )

    # --- the container ----------------------------------------------------------------------
    image: str | None = annotation("sidecar-image", TEXT, None, "image of the sidecar")
    native_sidecar: bool | None = annotation(
        "enable-native-sidecar", BOOLEAN, None, "be an init container that stays"
    )
    seccomp_profile: str = annotation(
        "sidecar-seccomp-profile-type", TEXT, "", "type of the seccomp profile"
    )
    cpu_request: str = annotation("sidecar-cpu-request", RESOURCE, "", "CPU that is kept free")
    cpu_limit: str = annotation("sidecar-cpu-limit", RESOURCE, "", "most CPU")
    memory_request: str = annotation(
        "sidecar-memory-request", RESOURCE, "", "memory that is kept free"
    )
    memory_limit: str = annotation("sidecar-memory-limit", RESOURCE, "", "most memory")
    env: str = annotation("env", TEXT, "", "variables: NAME=value, comma-separated")
    env_from_secret: str = annotation(
        "env-from-secret", TEXT, "", "variables: NAME=secret or NAME=secret:key, comma-separated"
    )
    volume_mounts: str = annotation(
        "volume-mounts", TEXT, "", "read-only mounts: volume:path, comma-separated"
    )
    volume_mounts_rw: str = annotation(
        "volume-mounts-rw", TEXT, "", "writable mounts: volume:path, comma-separated"
    )
    liveness_delay: int = annotation(
        "sidecar-liveness-probe-delay-seconds", INTEGER, 180, "seconds before the first probe"
    )
    liveness_timeout: int = annotation(
        "sidecar-liveness-probe-timeout-seconds", INTEGER, 3, "seconds a probe may take"
    )
    liveness_period: int = annotation(
        "sidecar-liveness-probe-period-seconds", INTEGER, 10, "seconds between two probes"
    )
    liveness_threshold: int = annotation(
        "sidecar-liveness-probe-threshold", INTEGER, 5, "failures in a row until a restart"
    )
    readiness_delay: int = annotation(
        "sidecar-readiness-probe-delay-seconds", INTEGER, 1, "seconds before the first probe"
    )
    readiness_timeout: int = annotation(
        "sidecar-readiness-probe-timeout-seconds", INTEGER, 1, "seconds a probe may take"
    )
    readiness_period: int = annotation(
        "sidecar-readiness-probe-period-seconds", INTEGER, 1, "seconds between two probes"
    )
    readiness_threshold: int = annotation(
        "sidecar-readiness-probe-threshold", INTEGER, 5, "failures in a row until not ready"
    )

    # --- pluggable components ---------------------------------------------------------------
    pluggable_components: str = annotation(
        "pluggable-components", TEXT, "", "containers of the pod that are components"
    )
    sockets_folder: str = annotation(
        "pluggable-components-sockets-folder", TEXT, "", "folder of the components' sockets"
    )
    inject_components: bool = annotation(
        "inject-pluggable-components", BOOLEAN, False, "add the containers Components declare"
    )

    # --- the operator's ---------------------------------------------------------------------
    service_annotations: str = annotation(
        "sidecar-svc-annotations", TEXT, "", "annotations of the app's Service (operator)"
    )


TABLE: Mapping[str, tuple[str, Annotation]] = {
    declared.name: (field.name, declared)
    for field in dataclasses.fields(Annotations)
    if (declared := field.metadata["annotation"])
}
"""Name after ``dapr.io/`` → attribute and declaration, for admission and documentation."""
