"""Flags and environment → one frozen ``Options``; everything wrong is said before any start."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dapr_common import flags
from dapr_common.flags import Parsed
from dapr_common.words import is_truthy
from dapr_sidecar import option_values as values
from dapr_sidecar.flag_table import FLAGS
from dapr_sidecar.option_values import AppHealthOptions, OptionsError

__all__ = [
    "AppHealthOptions",
    "Command",
    "Options",
    "OptionsError",
    "from_process",
    "help_text",
    "read",
]

_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")
_ROOT_CHECK = "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK"
_SOCKETS_FOLDER = "/tmp/dapr-components-sockets"  # noqa: S108 - Dapr's default


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a sidecar was asked to be. Sizes in bytes; ``max_body_bytes=None`` is unlimited."""

    app_id: str
    mode: str
    namespace: str
    namespace_set: bool
    http_port: int
    grpc_port: int
    internal_port: int
    internal_listen_address: str
    listen_addresses: tuple[str, ...]
    public_port: int | None
    public_listen_address: str
    metrics_enabled: bool
    metrics_port: int
    metrics_listen_address: str
    unix_domain_socket: str
    app_port: int
    app_protocol: str
    app_channel_address: str
    app_max_concurrency: int
    app_health: AppHealthOptions
    app_binding_options_timeout: float
    allowed_origins: tuple[str, ...]
    api_logging: bool | None
    config_paths: tuple[str, ...]
    resources_paths: tuple[str, ...]
    disable_init_config: bool
    disable_init_subscribe: bool
    max_body_bytes: int | None
    read_buffer_bytes: int
    graceful_shutdown: float | None
    block_shutdown: timedelta | None
    reconcile_interval: float
    log_level: str
    log_as_json: bool
    log_file: str
    enable_mtls: bool
    sentry_address: str
    control_plane_address: str
    builtin_secret_store: bool
    control_plane_namespace: str
    control_plane_trust_domain: str
    trust_anchors: str
    sentry_local_identity: str
    jwt_audiences: tuple[str, ...]
    placement_addresses: tuple[str, ...]
    disseminate_timeout: float
    scheduler_addresses: tuple[str, ...]
    scheduler_streams: int
    api_token: str
    app_token: str
    h2c: bool
    component_sockets: Path
    """Where pluggable components have their sockets."""
    wait_for_sockets: bool
    """Whether somebody named that folder."""
    python_folders: tuple[Path, ...] | None
    """Where components in Python files may come from; ``None``: they are refused."""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """What to do instead of running: ``version``, ``build-info``, ``help`` or ``wait``."""

    name: str
    http_port: int = 3500


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Options | Command:
    """Parse and validate. Raises ``FlagError`` (status 2) or ``OptionsError`` (status 1)."""
    if any(argument in ("--help", "-help", "-h") for argument in arguments):
        return Command("help")
    parsed = flags.parse(FLAGS, arguments)
    for name in ("version", "build-info"):
        if parsed.flag(name):
            return Command(name)
    http_port = values.port(parsed, "dapr-http-port")
    if parsed.flag("wait"):
        return Command("wait", http_port)
    return _options(parsed, environment, http_port)


def help_text() -> str:
    """The text of ``daprd --help``."""
    return flags.usage("daprd", "the Dapr sidecar of one application", FLAGS)


def _options(parsed: Parsed, environment: Mapping[str, str], http_port: int) -> Options:
    app_id = values.app_id(parsed)
    mode = parsed.text("mode")
    if mode not in ("standalone", "kubernetes"):
        raise OptionsError(f'invalid value for --mode: "{mode}": use standalone or kubernetes')
    _refuse_incomplete(parsed, mode)
    if parsed.text("log-level").lower() not in _LEVELS:
        raise OptionsError(f"invalid value for --log-level: {parsed.text('log-level')}")
    grpc_port = values.port(parsed, "dapr-grpc-port")
    app_port = values.port(parsed, "app-port", empty=0)
    _refuse_equal_ports(
        {"app-port": app_port, "dapr-http-port": http_port, "dapr-grpc-port": grpc_port}
    )
    return Options(
        app_id=app_id,
        mode=mode,
        namespace=environment.get("NAMESPACE", ""),
        namespace_set="NAMESPACE" in environment,
        http_port=http_port,
        grpc_port=grpc_port,
        internal_port=values.port(parsed, "dapr-internal-grpc-port", empty=0),
        internal_listen_address=parsed.text("dapr-internal-grpc-listen-address"),
        listen_addresses=values.csv(parsed.text("dapr-listen-addresses")),
        public_port=values.port(parsed, "dapr-public-port", empty=-1)
        if values.public(parsed)
        else None,
        public_listen_address=parsed.text("dapr-public-listen-address"),
        metrics_enabled=parsed.flag("enable-metrics"),
        metrics_port=values.port(parsed, "metrics-port"),
        metrics_listen_address=parsed.text("metrics-listen-address"),
        unix_domain_socket=parsed.text("unix-domain-socket"),
        app_port=app_port,
        app_protocol=values.app_protocol(parsed),
        app_channel_address=parsed.text("app-channel-address") or "127.0.0.1",
        app_max_concurrency=max(parsed.number("app-max-concurrency"), 0),
        app_health=values.app_health(parsed, app_port),
        app_binding_options_timeout=values.positive_seconds(
            parsed, "app-binding-options-timeout", 3.0
        ),
        allowed_origins=values.csv(parsed.text("allowed-origins")),
        api_logging=parsed.flag("enable-api-logging")
        if "enable-api-logging" in parsed.given
        else None,
        config_paths=tuple(parsed.texts("config")),
        resources_paths=values.resources_paths(parsed),
        **values.init_endpoints(parsed),
        max_body_bytes=values.max_body(parsed),
        read_buffer_bytes=values.read_buffer(parsed),
        graceful_shutdown=values.graceful(parsed),
        block_shutdown=parsed.duration("dapr-block-shutdown-duration")
        if "dapr-block-shutdown-duration" in parsed.given
        else None,
        reconcile_interval=values.positive_seconds(parsed, "hot-reload-reconcile-interval", 60.0),
        log_level=parsed.text("log-level").lower(),
        log_as_json=parsed.flag("log-as-json"),
        log_file=parsed.text("log-file"),
        enable_mtls=parsed.flag("enable-mtls"),
        sentry_address=parsed.text("sentry-address"),
        control_plane_address=parsed.text("control-plane-address"),
        builtin_secret_store=not parsed.flag("disable-builtin-k8s-secret-store"),
        control_plane_namespace=values.or_env(
            parsed, "control-plane-namespace", environment, "DAPR_CONTROLPLANE_NAMESPACE"
        ),
        control_plane_trust_domain=values.or_env(
            parsed, "control-plane-trust-domain", environment, "DAPR_CONTROLPLANE_TRUST_DOMAIN"
        ),
        trust_anchors=environment.get("DAPR_TRUST_ANCHORS", ""),
        sentry_local_identity=environment.get("SENTRY_LOCAL_IDENTITY", ""),
        jwt_audiences=tuple(parsed.texts("sentry-request-jwt-audiences")),
        placement_addresses=values.csv(parsed.text("placement-host-address")),
        disseminate_timeout=parsed.duration("actors-disseminate-timeout").total_seconds(),
        scheduler_addresses=values.csv(",".join(parsed.texts("scheduler-host-address")))
        if "scheduler-host-address" in parsed.given
        else values.csv(environment.get("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A", "")),
        scheduler_streams=parsed.number("scheduler-job-streams"),
        api_token=environment.get("DAPR_API_TOKEN", ""),
        app_token=environment.get("APP_API_TOKEN", ""),
        h2c=not is_truthy(environment.get("DAPR_HTTP_DISABLE_H2C", "")),
        component_sockets=Path(values.sockets_folder(environment) or _SOCKETS_FOLDER),
        wait_for_sockets=bool(values.sockets_folder(environment)),
        python_folders=values.python_folders(parsed, mode),
        notices=tuple(parsed.notices),
    )


def from_process(arguments: Sequence[str]) -> Options | Command:
    """``read`` with this process's environment, and its user."""
    chosen = read(arguments, os.environ)
    if isinstance(chosen, Options):
        _refuse_root(chosen, os.environ)
    return chosen


def _refuse_root(chosen: Options, environment: Mapping[str, str]) -> None:
    """A sidecar in a pod that runs as root is a mistake of the pod's template."""
    if chosen.mode == "kubernetes" and os.getuid() == 0 and environment.get(_ROOT_CHECK) != "true":
        raise OptionsError(
            "running as root is refused in Kubernetes mode: let the container run as another user "
            f"(securityContext.runAsNonRoot), or set {_ROOT_CHECK}=true"
        )


def _refuse_incomplete(parsed: Parsed, mode: str) -> None:
    """Nobody who asks for a cluster must get a sidecar without."""
    if mode == "kubernetes" and not parsed.text("control-plane-address"):
        raise OptionsError(
            "--mode kubernetes needs the operator's host:port: give it with --control-plane-address"
        )
    if mode == "kubernetes" and len(parsed.texts("config")) > 1:
        raise OptionsError(
            "--config names one Configuration object in Kubernetes mode: give it once only"
        )
    if parsed.duration("actors-disseminate-timeout").total_seconds() <= 0:
        raise OptionsError("value for 'actors-disseminate-timeout' must be greater than 0")


def _refuse_equal_ports(ports: Mapping[str, int]) -> None:
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in seen:
            raise OptionsError(
                f"the '{name}' argument value {port} conflicts with '{seen[port]}': "
                "they must differ"
            )
        seen[port] = name
