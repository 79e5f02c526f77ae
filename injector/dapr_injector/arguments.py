"""The command line of an injected sidecar."""

from __future__ import annotations

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotations import Annotations
from dapr_injector.injection import Injection
from dapr_injector.settings import PLACEMENT, NamedService
from dapr_injector.volumes import SOCKET_FOLDER

HTTP_PORT = 3500
PUBLIC_PORT = 3501
_EXECUTABLE = "/daprd"
_DEBUGGER = "/dlv"


def command_line(injection: Injection) -> KubeObject:
    """``command`` and ``args`` of the container.

    Without ``command`` an ENTRYPOINT of the image stays in force, except where nodes of a kind do
    not support that: their tolerations are in the settings.
    """
    executable, *before = _executable(injection.annotations)
    flags = [*before, *_flags(injection)]
    if _ignores_entrypoint(injection):
        return {"command": [executable], "args": flags}
    return {"args": [executable, *flags]}


def _executable(annotations: Annotations) -> list[str]:
    if not annotations.debug:
        return [_EXECUTABLE]
    listen = ["--listen", f":{annotations.debug_port}"]
    modes = ["--accept-multiclient", "--headless=true", "--log", "--api-version=2"]
    return [_DEBUGGER, *listen, *modes, "exec", _EXECUTABLE, "--"]


def _ignores_entrypoint(injection: Injection) -> bool:
    known = [_without_empty(one) for one in injection.settings.ignore_entrypoint_tolerations]
    return any(_without_empty(one) in known for one in injection.pod.tolerations)


def _without_empty(toleration: KubeObject) -> KubeObject:
    return {key: value for key, value in toleration.items() if value not in (None, "")}


def _flags(injection: Injection) -> list[str]:
    """In Dapr's order."""
    a = injection.annotations
    settings = injection.settings
    return [
        *("--dapr-http-port", str(HTTP_PORT)),
        *("--dapr-grpc-port", str(a.grpc_port)),
        *("--dapr-internal-grpc-port", str(a.internal_grpc_port)),
        *("--dapr-listen-addresses", a.listen_addresses),
        *("--dapr-public-port", str(PUBLIC_PORT)),
        *("--app-id", injection.app_id),
        *("--app-protocol", a.app_protocol),
        *("--log-level", a.log_level),
        *("--dapr-graceful-shutdown-seconds", str(a.graceful_shutdown_seconds)),
        *("--mode", "kubernetes"),
        *("--control-plane-address", settings.address_of("dapr-api", 443)),
        *("--sentry-address", settings.address_of("dapr-sentry", 443)),
        *_if_given("--app-port", a.app_port if a.app_port > 0 else None),
        *(("--enable-metrics", "--metrics-port", str(a.metrics_port)) if a.metrics else ()),
        *_if_filled("--config", a.config),
        *_if_filled("--app-channel-address", a.app_channel_address),
        *_actors_service(injection),
        *_reminders_service(injection),
        *_if_filled("--sentry-request-jwt-audiences", a.jwt_audiences),
        *_api_logging(a),
        *_if_set("--disable-builtin-k8s-secret-store", a.disable_builtin_secret_store),
        *_app_health(a),
        *_if_given("--app-binding-options-timeout", a.app_binding_options_timeout),
        *_if_set("--log-as-json", a.log_as_json),
        *_if_set("--enable-profiling", a.profiling),
        *_if_set("--enable-mtls", injection.facts.mtls_enabled),
        *_if_set("--app-ssl", a.app_ssl),
        *_if_given("--app-max-concurrency", a.app_max_concurrency),
        *_if_given("--dapr-http-max-request-size", a.http_max_request_size),
        *_if_filled("--max-body-size", a.max_body_size),
        *_if_given("--dapr-http-read-buffer-size", a.http_read_buffer_size),
        *_if_filled("--read-buffer-size", a.read_buffer_size),
        *_if_filled("--unix-domain-socket", SOCKET_FOLDER if a.unix_domain_socket_path else ""),
        *_if_given("--dapr-block-shutdown-duration", a.block_shutdown_duration),
        *_if_given("--actors-disseminate-timeout", a.actors_disseminate_timeout),
        *_if_given("--scheduler-host-address", _scheduler_address(injection)),
        *_if_given("--disable-init-endpoints", a.disable_init_endpoints),
    ]


def _if_given(flag: str, value: str | int | None) -> list[str]:
    return [] if value is None else [flag, str(value)]


def _if_filled(flag: str, value: str) -> list[str]:
    return [flag, value] if value else []


def _if_set(flag: str, value: bool) -> list[str]:
    return [flag] if value else []


def _api_logging(annotations: Annotations) -> list[str]:
    if (value := annotations.api_logging) is None:
        return []
    return [f"--enable-api-logging={'true' if value else 'false'}"]


def _app_health(annotations: Annotations) -> list[str]:
    if not annotations.app_health_check:
        return []
    return [
        "--enable-app-health-check",
        *("--app-health-check-path", annotations.app_health_path),
        *("--app-health-probe-interval", str(annotations.app_health_interval)),
        *("--app-health-probe-timeout", str(annotations.app_health_timeout)),
        *("--app-health-threshold", str(annotations.app_health_threshold)),
    ]


def _actors_service(injection: Injection) -> list[str]:
    """An address of the pod's own is placement's; an empty one means no actors in this pod."""
    if (own := injection.annotations.placement_address) is not None:
        return _if_filled("--placement-host-address", _without_quotes(own))
    if (service := injection.settings.actors_service) is None:
        return []
    if service.name == PLACEMENT:
        address = injection.settings.address_of(service.host, service.port)
        return ["--placement-host-address", address]
    return ["--actors-service", _named(injection, service)]


def _reminders_service(injection: Injection) -> list[str]:
    service = injection.settings.reminders_service
    return [] if service is None else ["--reminders-service", _named(injection, service)]


def _named(injection: Injection, service: NamedService) -> str:
    return f"{service.name}:{injection.settings.address_of(service.host, service.port)}"


def _scheduler_address(injection: Injection) -> str | None:
    if (own := injection.annotations.scheduler_address) is not None:
        return _without_quotes(own)
    if not injection.settings.scheduler_enabled:
        return None
    return injection.settings.address_of("dapr-scheduler-server-a", 443)


def _without_quotes(text: str) -> str:
    return text.strip(" \t\r\n\"'")
