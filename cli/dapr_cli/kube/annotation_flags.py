"""The flags of ``dapr annotate`` and the annotations they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from dapr_cli.session import Switch

PREFIX = "dapr.io/"


@dataclass(frozen=True, slots=True)
class AnnotationFlag:
    """One flag; ``name`` is the annotation's without ``dapr.io/``."""

    flag: str
    name: str
    help: str
    type: click.ParamType[Any] = click.STRING
    short: str = ""

    @property
    def annotation(self) -> str:
        return f"{PREFIX}{self.name}"

    def option(self) -> click.Option:
        """The option of the command; ``None`` when it is not given."""
        names = [*([self.short] if self.short else []), self.flag, self.parameter]
        kind = Switch if self.type is click.BOOL else click.Option
        return kind(names, type=self.type, help=self.help)

    @property
    def parameter(self) -> str:
        """What the command calls it."""
        return "annotation_" + self.flag.removeprefix("--").replace("-", "_")


_BOOL, _INT = click.BOOL, click.INT
FLAGS = (
    AnnotationFlag("--app-id", "app-id", "The app's id.", short="-a"),
    AnnotationFlag("--app-port", "app-port", "The port the app listens on.", _INT, "-p"),
    AnnotationFlag("--config", "config", "The Configuration of the sidecar.", short="-c"),
    AnnotationFlag("--app-protocol", "app-protocol", "What the app speaks, such as grpc."),
    AnnotationFlag("--app-ssl", "app-ssl", "Call the app over TLS.", _BOOL),
    AnnotationFlag("--enable-profile", "enable-profiling", "Serve profiles.", _BOOL),
    AnnotationFlag("--log-level", "log-level", "debug, info, warn or error."),
    AnnotationFlag("--log-as-json", "log-as-json", "Write the log as JSON.", _BOOL),
    AnnotationFlag("--api-token-secret", "api-token-secret", "Secret with the API's token."),
    AnnotationFlag("--app-token-secret", "app-token-secret", "Secret with the app's token."),
    AnnotationFlag(
        "--app-max-concurrency", "app-max-concurrency", "Calls of the app at a time.", _INT
    ),
    AnnotationFlag("--enable-metrics", "enable-metrics", "Serve metrics.", _BOOL),
    AnnotationFlag("--metrics-port", "metrics-port", "The port of the metrics.", _INT),
    AnnotationFlag("--enable-debug", "enable-debug", "Start daprd in a debugger.", _BOOL),
    AnnotationFlag("--debug-port", "debug-port", "The port of the debugger.", _INT),
    AnnotationFlag("--env", "env", "Environment of the sidecar: NAME=value,..."),
    AnnotationFlag("--cpu-limit", "sidecar-cpu-limit", "CPU the sidecar gets at most."),
    AnnotationFlag("--memory-limit", "sidecar-memory-limit", "Memory it gets at most."),
    AnnotationFlag("--cpu-request", "sidecar-cpu-request", "CPU that is reserved for it."),
    AnnotationFlag("--memory-request", "sidecar-memory-request", "Memory reserved for it."),
    AnnotationFlag(
        "--listen-addresses", "sidecar-listen-addresses", "Addresses the API listens on."
    ),
    AnnotationFlag(
        "--liveness-probe-delay",
        "sidecar-liveness-probe-delay-seconds",
        "Seconds before the first liveness probe.",
        _INT,
    ),
    AnnotationFlag(
        "--liveness-probe-timeout",
        "sidecar-liveness-probe-timeout-seconds",
        "Seconds a liveness probe may take.",
        _INT,
    ),
    AnnotationFlag(
        "--liveness-probe-period",
        "sidecar-liveness-probe-period-seconds",
        "Seconds between liveness probes.",
        _INT,
    ),
    AnnotationFlag(
        "--liveness-probe-threshold",
        "sidecar-liveness-probe-threshold",
        "Liveness probes that may fail.",
        _INT,
    ),
    AnnotationFlag(
        "--readiness-probe-delay",
        "sidecar-readiness-probe-delay-seconds",
        "Seconds before the first readiness probe.",
        _INT,
    ),
    AnnotationFlag(
        "--readiness-probe-timeout",
        "sidecar-readiness-probe-timeout-seconds",
        "Seconds a readiness probe may take.",
        _INT,
    ),
    AnnotationFlag(
        "--readiness-probe-period",
        "sidecar-readiness-probe-period-seconds",
        "Seconds between readiness probes.",
        _INT,
    ),
    AnnotationFlag(
        "--readiness-probe-threshold",
        "sidecar-readiness-probe-threshold",
        "Readiness probes that may fail.",
        _INT,
    ),
    AnnotationFlag("--dapr-image", "sidecar-image", "The image of the sidecar."),
    AnnotationFlag("--max-body-size", "max-body-size", "Largest body, such as 4Mi."),
    AnnotationFlag("--read-buffer-size", "read-buffer-size", "Largest head, such as 4Ki."),
    AnnotationFlag(
        "--graceful-shutdown-seconds",
        "graceful-shutdown-seconds",
        "Seconds the sidecar has to end.",
        _INT,
    ),
    AnnotationFlag("--enable-api-logging", "enable-api-logging", "Log the API's calls.", _BOOL),
    AnnotationFlag(
        "--unix-domain-socket-path",
        "unix-domain-socket-path",
        "Where the app finds the API's sockets.",
    ),
    AnnotationFlag("--volume-mounts", "volume-mounts", "Read-only mounts: volume:path,..."),
    AnnotationFlag("--volume-mounts-rw", "volume-mounts-rw", "Mounts: volume:path,..."),
    AnnotationFlag(
        "--disable-builtin-k8s-secret-store",
        "disable-builtin-k8s-secret-store",
        "Without the secret store 'kubernetes'.",
        _BOOL,
    ),
    AnnotationFlag(
        "--placement-host-address", "placement-host-address", "Where placement is; none if empty."
    ),
)


def given_annotations(given: Mapping[str, Any]) -> dict[str, str]:
    """Annotation → text, for the flags that were given."""
    values = ((flag, given.get(flag.parameter)) for flag in FLAGS)
    return {flag.annotation: annotation_text(value) for flag, value in values if value is not None}


def annotation_text(value: object) -> str:
    """A value as annotations have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
