"""What single flags and variables mean: each is checked by its own rule, and has its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dapr_common.durations import parse_quantity
from dapr_common.flags import FlagError, Parsed

_PROTOCOLS = ("http", "https", "h2c", "grpc", "grpcs")
_INIT_ENDPOINTS = ("config", "subscribe")
_SOCKETS_VARIABLES = ("DAPR_COMPONENTS_SOCKETS_FOLDER", "DAPR_COMPONENT_SOCKETS_FOLDER")
"""What a user sets, and what the injector does."""
DEFAULT_MAX_BODY = 4 << 20
DEFAULT_READ_BUFFER = 4 << 10


class OptionsError(FlagError):
    """A flag's value cannot be used; the program exits with status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppHealthOptions:
    """How the app's health is probed."""

    enabled: bool
    path: str
    interval: float
    timeout: float
    threshold: int


def app_id(parsed: Parsed) -> str:
    """``--app-id``. Raises ``OptionsError``, as all of these do."""
    found = parsed.text("app-id")
    if not found:
        raise OptionsError("parameter app-id cannot be empty: give one with --app-id")
    if "." in found:
        raise OptionsError(f"parameter app-id cannot contain dots: {found}")
    return found


def port(parsed: Parsed, name: str, empty: int | None = None) -> int:
    """A port; ``empty`` is what an empty text means, where it means something."""
    text = parsed.text(name)
    if text == "" and empty is not None:
        return empty
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:
        raise OptionsError(f'invalid value for --{name}: "{text}": expected a port, 0 to 65535')
    return number


def public(parsed: Parsed) -> bool:
    """Whether there is a public port."""
    return parsed.text("dapr-public-port") != ""


def csv(text: str) -> tuple[str, ...]:
    """The words between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def app_protocol(parsed: Parsed) -> str:
    """``--app-protocol``; ``--app-ssl`` makes it the secure one. An empty annotation gives none."""
    protocol = parsed.text("app-protocol").lower() or "http"
    if protocol not in _PROTOCOLS:
        raise OptionsError(
            f'invalid value for --app-protocol: "{protocol}": use {", ".join(_PROTOCOLS)}'
        )
    if parsed.flag("app-ssl"):
        return {"http": "https", "grpc": "grpcs"}.get(protocol, protocol)
    return protocol


def app_health(parsed: Parsed, app_port: int) -> AppHealthOptions:
    """How the app is probed."""
    interval = parsed.number("app-health-probe-interval")
    timeout = parsed.number("app-health-probe-timeout")
    threshold = parsed.number("app-health-threshold")
    seconds = float(interval) if interval > 0 else 5.0
    millis = timeout if timeout > 0 else 500
    enabled = parsed.flag("enable-app-health-check") and app_port > 0
    if enabled and millis / 1000 > seconds:
        raise OptionsError(
            "value for 'app-health-probe-timeout' must not exceed 'app-health-probe-interval'"
        )
    path = parsed.text("app-health-check-path") or "/healthz"
    return AppHealthOptions(
        enabled=enabled,
        path=path if path.startswith("/") else f"/{path}",
        interval=seconds,
        timeout=millis / 1000,
        threshold=threshold if threshold >= 1 else 3,
    )


def init_endpoints(parsed: Parsed) -> dict[str, bool]:
    """Which of the app's endpoints are not asked at the start."""
    named = parsed.texts("disable-init-endpoints")
    for name in named:
        if name not in _INIT_ENDPOINTS:
            raise OptionsError(
                f'invalid value for --disable-init-endpoints: "{name}": use config, subscribe'
            )
    return {
        "disable_init_config": "config" in named,
        "disable_init_subscribe": "subscribe" in named,
    }


def resources_paths(parsed: Parsed) -> tuple[str, ...]:
    """Folders of manifests; the flag's old name counts where the new one is not given."""
    paths = parsed.texts("resources-path")
    if not paths and parsed.text("components-path"):
        paths = [parsed.text("components-path")]
    return tuple(paths)


def sockets_folder(environment: Mapping[str, str]) -> str:
    """The folder that somebody named, or nothing."""
    return next((environment[name] for name in _SOCKETS_VARIABLES if environment.get(name)), "")


def python_folders(parsed: Parsed, mode: str) -> tuple[Path, ...] | None:
    """Where Python components may be; ``None`` without leave for them."""
    named = tuple(map(Path, parsed.texts("python-components-path")))
    if not parsed.flag("enable-python-components"):
        if named:
            raise OptionsError(
                "--python-components-path means nothing without --enable-python-components"
            )
        return None
    if mode == "kubernetes" and not named:
        raise OptionsError(
            "--enable-python-components needs --python-components-path in Kubernetes mode, "
            "where manifests are no files"
        )
    return named or tuple(map(Path, resources_paths(parsed)))


def _quantity(parsed: Parsed, name: str) -> int:
    try:
        return parse_quantity(parsed.text(name))
    except ValueError as error:
        raise OptionsError(f"invalid value for --{name}: {error}") from error


def max_body(parsed: Parsed) -> int | None:
    """Bytes of a body; ``None`` for as many as come."""
    if "max-body-size" in parsed.given:
        size = _quantity(parsed, "max-body-size")
    elif "dapr-http-max-request-size" in parsed.given:
        mebibytes = parsed.number("dapr-http-max-request-size")
        size = mebibytes << 20 if mebibytes != -1 else -1
    else:
        size = DEFAULT_MAX_BODY
    if size == -1:
        return DEFAULT_MAX_BODY
    return size if size > 0 else None


def read_buffer(parsed: Parsed) -> int:
    """Bytes of a request's head."""
    if "read-buffer-size" in parsed.given:
        size = _quantity(parsed, "read-buffer-size")
    elif "dapr-http-read-buffer-size" in parsed.given:
        size = parsed.number("dapr-http-read-buffer-size") << 10
    else:
        size = DEFAULT_READ_BUFFER
    return size if size > 0 else DEFAULT_READ_BUFFER


def graceful(parsed: Parsed) -> float | None:
    """Seconds to stop in; ``None`` for none at all."""
    seconds = parsed.number("dapr-graceful-shutdown-seconds")
    if seconds == 0:
        return None
    return float(seconds) if seconds > 0 else 5.0


def positive_seconds(parsed: Parsed, name: str, default: float) -> float:
    """A duration in seconds; what is not positive means the default."""
    seconds = parsed.duration(name).total_seconds()
    return seconds if seconds > 0 else default


def or_env(parsed: Parsed, name: str, environment: Mapping[str, str], variable: str) -> str:
    """The flag, or the variable where it is not given."""
    if name not in parsed.given and environment.get(variable):
        return environment[variable]
    return parsed.text(name)
