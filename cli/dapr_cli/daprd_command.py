"""Settings → the command line of ``daprd`` and the environment of the application."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dapr_cli.errors import CliError
from dapr_cli.manifest_files import manifest_files
from dapr_cli.settings import RunSettings
from dapr_common.aio.host import NoHostAddressError, host_address

PLACEMENT_PORT, SCHEDULER_PORT = (6050, 6060) if sys.platform == "win32" else (50005, 50006)
_LOCAL = "127.0.0.1"
SENTRY_PORT = 50001

Argument = tuple[str, str | int | bool | tuple[str, ...]]


def daprd_command(daprd: Path, settings: RunSettings) -> list[str]:
    """The words that start a sidecar, in the order of the official CLI."""
    words = [str(daprd)]
    for name, value in _arguments(settings):
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, tuple):
            words += [word for path in value for word in (f"--{name}", path)]
        elif value is not False and value != "":
            words += [f"--{name}", str(value)]
    if settings.log_as_json:
        words.append("--log-as-json")
    if settings.config and wants_mtls(Path(settings.config)):
        words += ["--enable-mtls", "--sentry-address", settings.sentry_address]
    return words


def _arguments(s: RunSettings) -> list[Argument]:
    channel = "" if s.app_channel_address == _LOCAL else s.app_channel_address
    return [
        ("config", s.config),
        ("app-protocol", s.app_protocol),
        ("dapr-listen-addresses", s.listen_addresses),
        ("enable-profiling", s.enable_profiling),
        ("log-level", s.log_level),
        ("app-max-concurrency", s.app_max_concurrency),
        ("placement-host-address", placement_address(s)),
        ("resources-path", s.resources),
        ("app-ssl", s.app_ssl),
        ("max-body-size", s.max_body_size),
        ("read-buffer-size", s.read_buffer_size),
        ("enable-app-health-check", s.enable_app_health_check),
        ("app-health-check-path", s.app_health_check_path),
        ("app-health-probe-interval", s.app_health_probe_interval or ""),
        ("app-health-probe-timeout", s.app_health_probe_timeout or ""),
        ("app-health-threshold", s.app_health_threshold or ""),
        ("enable-api-logging", s.enable_api_logging),
        ("enable-python-components", s.enable_python_components),
        ("scheduler-host-address", _with_port(s.scheduler_host_address, SCHEDULER_PORT)),
        ("app-id", s.app_id),
        ("app-channel-address", channel),
        ("app-port", s.app_port),
        ("dapr-http-port", s.http_port),
        ("dapr-grpc-port", s.grpc_port),
        ("profile-port", s.profile_port),
        ("metrics-port", s.metrics_port),
        ("unix-domain-socket", s.unix_domain_socket),
        ("dapr-internal-grpc-port", s.internal_grpc_port),
    ]


def placement_address(settings: RunSettings) -> str:
    """What the sidecar is told of placement."""
    return _with_port(settings.placement_host_address, PLACEMENT_PORT)


def host_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``DAPR_HOST_IP`` for a sidecar of a machine that has no network interface.

    ``daprd`` ends there, as Dapr's does; apps of this machine find each other all the same.
    """
    try:
        host_address(environment)
    except NoHostAddressError:
        return {"DAPR_HOST_IP": _LOCAL}
    return {}


def app_environment(settings: RunSettings) -> dict[str, str]:
    """What the application finds in its environment besides the CLI's own."""
    numbers = {
        "APP_PORT": settings.app_port,
        "DAPR_HTTP_PORT": settings.http_port,
        "DAPR_GRPC_PORT": settings.grpc_port,
        "DAPR_METRICS_PORT": settings.metrics_port,
    }
    return {
        **settings.env,
        "APP_ID": settings.app_id,
        "APP_CHANNEL_ADDRESS": settings.app_channel_address,
        "APP_PROTOCOL": settings.app_protocol,
        **{name: str(number) for name, number in numbers.items() if number > 0},
    }


def wants_mtls(config: Path) -> bool:
    """Whether a configuration file turns mutual TLS on. Raises ``CliError``."""
    for body in read_yaml(config):
        spec = body.get("spec")
        mtls = spec.get("mtls") if isinstance(spec, Mapping) else None
        if isinstance(mtls, Mapping) and mtls.get("enabled") is True:
            return True
    return False


def read_yaml(file: Path) -> list[Mapping[str, Any]]:
    """The mappings among a file's documents. Raises ``CliError`` naming what is wrong."""
    from dapr_common.kube.manifests import ManifestError, parse_documents

    try:
        documents = list(parse_documents(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, ValueError) as error:
        raise CliError(f"{file} cannot be read: {error}") from error
    bodies = []
    for document in documents:
        if isinstance(document, ManifestError):
            raise CliError(str(document))
        bodies.append(document.body)
    return bodies


def check_resources(directory: Path) -> None:
    """Refuse a directory or manifest that the sidecar could not use. Raises ``CliError``."""
    from dapr_common.kube.manifests import ManifestError, parse_documents, typed

    if not directory.is_dir():
        raise CliError(f"the resources path {directory} is not a directory")
    for file in manifest_files(directory):
        try:
            for document in parse_documents(file.read_text(encoding="utf-8"), str(file)):
                if isinstance(document, ManifestError):
                    raise document
                typed(document)
        except (OSError, ValueError) as error:
            raise CliError(f"{file}: the resource is not valid: {error}") from error


def _with_port(host: str, port: int) -> str:
    return f"{host}:{port}" if host and ":" not in host else host
