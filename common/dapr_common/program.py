"""What all control plane programs share on their command line, and how they begin."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from dapr_common import RUNTIME_VERSION
from dapr_common.aio.run import run
from dapr_common.flags import Flag, FlagError, Parsed, parse, usage
from dapr_common.http.messages import Handler
from dapr_common.observe import logs, service_manager
from dapr_common.observe.health import Readiness
from dapr_common.observe.metrics import Registry
from dapr_common.observe.serving import HealthServer, MetricsServer
from dapr_common.output import show

_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal")
_HELP = frozenset({"--help", "-help", "-h"})
_MOST_PORT = 65535
_HEALTH, _METRICS = "healthz-server", "metrics-server"
_ROOT_ALLOWED = "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK"

SERVICE_FLAGS: tuple[Flag, ...] = (
    Flag("log-level", "string", "info", "least level written: debug, info, warn, error, fatal"),
    Flag("log-as-json", "bool", False, "write log lines as JSON objects"),
    Flag("log-file", "string", "", "write the log to this file"),
    Flag("enable-metrics", "bool", True, "serve metrics in Prometheus' format"),
    Flag("metrics-port", "string", "9090", "port of the metrics server"),
    Flag("metrics-listen-address", "string", "0.0.0.0", "address of the metrics server"),  # noqa: S104
    Flag("healthz-port", "int", 8080, "port of the health server (/healthz)"),
    Flag("healthz-listen-address", "string", "", "address of the health server; empty is all"),
)
KUBECONFIG_FLAG = Flag(
    "kubeconfig",
    "string",
    "",
    "kubeconfig outside a cluster; else $KUBE_CONFIG, ~/.kube/config",
)


class SettingsError(FlagError):
    """A flag's value cannot be used; the program exits with status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What ``SERVICE_FLAGS`` say."""

    log_level: str = "info"
    log_as_json: bool = False
    log_file: str = ""
    metrics_enabled: bool = True
    metrics_port: int = 9090
    metrics_listen_address: str = ""
    healthz_port: int = 8080
    healthz_listen_address: str = ""

    @classmethod
    def read(cls, parsed: Parsed) -> ServiceSettings:
        """Raises ``SettingsError``."""
        level = parsed.text("log-level").lower()
        if level not in _LEVELS:
            raise SettingsError(
                f'invalid value for --log-level: "{level}": use {", ".join(_LEVELS)}'
            )
        return cls(
            log_level=level,
            log_as_json=parsed.flag("log-as-json"),
            log_file=parsed.text("log-file"),
            metrics_enabled=parsed.flag("enable-metrics"),
            metrics_port=_port("metrics-port", parsed.text("metrics-port")),
            metrics_listen_address=parsed.text("metrics-listen-address"),
            healthz_port=port(parsed, "healthz-port"),
            healthz_listen_address=parsed.text("healthz-listen-address"),
        )


def is_kubernetes(parsed: Parsed) -> bool:
    """What ``--mode`` says. Raises ``SettingsError``."""
    mode = parsed.text("mode")
    if mode not in ("standalone", "kubernetes"):
        raise SettingsError(f'invalid value for --mode: "{mode}": use standalone or kubernetes')
    return mode == "kubernetes"


def port(parsed: Parsed, name: str) -> int:
    """A port given as a number. Raises ``SettingsError``."""
    return _port(name, str(parsed.number(name)))


def _port(name: str, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else -1
    if not 0 <= number <= _MOST_PORT:
        raise SettingsError(f'invalid value for --{name}: "{text}": expected a port, 0 to 65535')
    return number


def refuse_root(program: str, environment: Mapping[str, str]) -> None:
    """What Dapr's programs do in Kubernetes. Raises ``SettingsError``."""
    if os.getuid() == 0 and environment.get(_ROOT_ALLOWED) != "true":
        raise SettingsError(
            f"{program} does not run as root in Kubernetes: give the pod another user, or set "
            f"{_ROOT_ALLOWED}=true"
        )


@asynccontextmanager
async def observed(
    service: ServiceSettings,
    registry: Registry,
    readiness: Readiness,
    logger: logging.Logger,
    pages: Mapping[bytes, Handler] | None = None,
) -> AsyncIterator[None]:
    """Serve metrics, when they are wanted, and health; ``readiness`` has a target for each.

    ``pages`` are served beside health. systemd hears when all targets are ready. Raises
    ``BindError``.
    """
    async with AsyncExitStack() as stack:
        if service.metrics_enabled:
            readiness.add(_METRICS)
            metrics = MetricsServer(registry)
            stack.push_async_callback(metrics.close)
            await metrics.open(service.metrics_listen_address, service.metrics_port)
            readiness.ready(_METRICS)
        readiness.add(_HEALTH)
        health = HealthServer(readiness, logger, pages)
        stack.push_async_callback(health.close)
        await health.open(service.healthz_listen_address, service.healthz_port)
        readiness.ready(_HEALTH)
        telling = asyncio.create_task(_tell_when_ready(readiness), name="tell systemd")
        stack.callback(telling.cancel)
        yield


async def _tell_when_ready(readiness: Readiness) -> None:
    await readiness.wait()
    service_manager.ready()


class HasService(Protocol):
    """The settings of a program."""

    @property
    def service(self) -> ServiceSettings:
        """The shared ones."""
        ...


S = TypeVar("S", bound=HasService)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Generic[S]):
    """A program: its name and flags, how settings are read, what runs with them.

    ``read`` raises ``FlagError`` (exit code 2) or ``SettingsError`` (exit code 1); ``root`` runs
    until cancelled.
    """

    name: str
    summary: str
    scope: str
    """Of its log lines."""
    flags: Sequence[Flag]
    read: Callable[[Parsed], S]
    root: Callable[[S], Coroutine[Any, Any, None]]

    def main(self, arguments: Sequence[str]) -> int:
        """Run to the end. Returns the exit code."""
        if not _HELP.isdisjoint(arguments):
            show(usage(self.name, self.summary, self.flags))
            return 0
        try:
            parsed = parse(self.flags, arguments)
            settings = self.read(parsed)
            self._set_logs_up(settings.service)
        except FlagError as error:
            return self._refuse(error)
        logger = logs.get_logger(self.scope)
        logger.info("Starting %s -- version %s -- commit n/a", self.name, RUNTIME_VERSION)
        logger.info("Log level set to: %s", settings.service.log_level)
        for notice in parsed.notices:
            logger.warning("%s", notice)
        return run(lambda: self.root(settings), logger)

    def _set_logs_up(self, service: ServiceSettings) -> None:
        file = service.log_file or None
        try:
            logs.setup(service.log_level, as_json=service.log_as_json, app_id="", file=file)
        except OSError as error:
            raise SettingsError(
                f"--log-file {service.log_file} cannot be written: {error.strerror}"
            ) from error

    def _refuse(self, error: FlagError) -> int:
        if error.status == 2:
            print(f"{error}\nSee {self.name} --help.", file=sys.stderr)  # noqa: T201 - no logs yet
        else:
            logs.setup("info", as_json=False, app_id="")
            logs.get_logger(self.scope).critical("%s", error)
        return error.status
