"""``dapr run``: flags or a run file → settings; then the processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dapr_cli import instances
from dapr_cli.completions import files
from dapr_cli.daprd_command import check_resources
from dapr_cli.errors import CliError
from dapr_cli.install import Install
from dapr_cli.names import random_app_id
from dapr_cli.ports import PortChooser
from dapr_cli.run_file import RunFile, parse, read
from dapr_cli.session import Session, Verb, kubernetes_option, session
from dapr_cli.settings import RunSettings

_KEPT_WITH_FILE = frozenset({"run_file", "command", "kubernetes"})
_KEPT_HERE = frozenset({"sentry_address"})


def _number(flags: str, default: int, text: str) -> Callable[..., Any]:
    return click.option(*flags.split("|"), type=int, default=default, help=text)


def _text(flags: str, default: str | None, text: str) -> Callable[..., Any]:
    return click.option(*flags.split("|"), default=default, show_default=bool(default), help=text)


def _path(flags: str, default: str | None, what: str, text: str) -> Callable[..., Any]:
    return click.option(
        *flags.split("|"), type=click.Path(), metavar=what, default=default, help=text
    )


def _switch(flag: str, text: str) -> Callable[..., Any]:
    return click.option(flag, is_flag=True, help=text)


_FLAGS: Sequence[Callable[..., Any]] = (
    _text("-a|--app-id", "", "The app's id.  [default: two random words]"),
    _number("-p|--app-port", -1, "The port the app listens on."),
    _text("-P|--app-protocol", "http", "How the sidecar calls it: http, https, h2c, grpc, grpcs."),
    _text("--app-channel-address", "127.0.0.1", "The host the app listens on."),
    _number("--app-max-concurrency", -1, "Calls to the app at once; -1 is unlimited."),
    _path("-c|--config", None, "FILE", "Configuration file.  [default: .dapr/config.yaml]"),
    click.option(
        "--resources-path",
        "resources_path",
        multiple=True,
        type=click.Path(),
        metavar="DIR",
        help="Directory of resources; may be repeated.  [default: .dapr/components]",
    ),
    click.option("-d", "--components-path", metavar="DIR", hidden=True),
    _number("-H|--dapr-http-port", -1, "HTTP port of the sidecar.  [default: a free one]"),
    _number("-G|--dapr-grpc-port", -1, "gRPC port of the sidecar.  [default: a free one]"),
    _number("-I|--dapr-internal-grpc-port", -1, "Port for other sidecars.  [default: a free one]"),
    _number("-M|--metrics-port", -1, "Port of the metrics.  [default: a free one]"),
    _switch("--enable-profiling", "Serve profiles."),
    _number("--profile-port", -1, "Port of the profiles.  [default: a free one]"),
    _text("--dapr-listen-addresses", "", "Addresses of the APIs, comma separated."),
    _path("-u|--unix-domain-socket", "", "DIR", "Where to serve on Unix sockets, not on ports."),
    _text("--log-level", "info", "debug, info, warn, error or fatal."),
    _switch("--enable-api-logging", "Log every call of the API."),
    _switch("--enable-python-components", "Load components from Python files beside manifests."),
    _switch(
        "--ready-line",
        "Print 'DAPR_READY {json}' with the ports once the sidecar and its app are up.",
    ),
    _text("--max-body-size", "4Mi", "Largest body of a request."),
    _text("--read-buffer-size", "4Ki", "Largest head of a request."),
    _switch("--enable-app-health-check", "Probe the app's health."),
    _text("--app-health-check-path", "", "The path that is probed."),
    _number("--app-health-probe-interval", 0, "Seconds between two probes."),
    _number("--app-health-probe-timeout", 0, "Milliseconds a probe may take."),
    _number("--app-health-threshold", 0, "Failures until the app counts as unhealthy."),
    click.option("--app-ssl", is_flag=True, hidden=True),
    click.option(
        "--placement-host-address",
        default="localhost",
        envvar="DAPR_PLACEMENT_HOST_ADDRESS",
        show_default=True,
        help='The placement service; "" for none.',
    ),
    _text("--scheduler-host-address", "localhost", 'The scheduler service; "" for none.'),
    click.option(
        "--sentry-address",
        default="localhost:50001",
        envvar="DAPR_SENTRY_ADDRESS",
        show_default=True,
        help="Who signs certificates when the configuration turns mutual TLS on.",
    ),
    click.option(
        "-f",
        "--run-file",
        type=click.Path(allow_dash=True),
        metavar="FILE|DIR|-",
        help="Run every app of this file (dapr.yaml in a directory); other flags are ignored.",
    ),
)


def _run_flags(function: Callable[..., int]) -> Callable[..., int]:
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


@click.command("run", cls=Verb)
@_run_flags
@kubernetes_option
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[-- COMMAND [ARGS]...]",
    shell_complete=files,
)
def run_command(
    run_file: str | None, command: tuple[str, ...], kubernetes: bool, **flags: Any
) -> int:
    """Run an app, or all apps of a run file, with their sidecars.

    The app finds DAPR_HTTP_PORT, DAPR_GRPC_PORT, APP_ID and APP_PORT in its environment. Without
    a command only the sidecar runs. Both are stopped when one of them ends, and on Ctrl-C; the
    exit code is 1 when one ended with an error.

    With -k the apps of a run file run in the namespace default of your cluster, in the images that
    the file names, until Ctrl-C or 'dapr stop -k -f FILE'.

    \b
    dapr run --app-id hello --app-port 8000 -- python app.py
    dapr run -f .
    dapr run -k -f .
    """
    if kubernetes:
        if not run_file:
            raise click.UsageError("-k runs the apps of a run file: give --run-file, too")
        return _run_file_on_cluster(run_file, command)
    if run_file:
        return _run_file(run_file, command, flags["sentry_address"])
    return _run_single(flags, command)


def _run_single(flags: dict[str, Any], command: tuple[str, ...]) -> int:
    from dapr_cli.single import run_one

    current, running = session(), instances.running()
    if flags["app_ssl"]:
        current.console.warning("--app-ssl is deprecated, use --app-protocol https or grpcs")
    settings = _settings(flags, command, current)
    if not settings.app_id:
        settings = replace(settings, app_id=random_app_id({each.app_id for each in running}))
    if not command:
        current.console.warning("No application command was given: only the sidecar runs")
    for directory in settings.resources:
        check_resources(Path(directory))
    chooser = PortChooser(port for each in running for port in each.ports)
    return asyncio.run(run_one(chooser.settle(settings), current.console))


def _settings(flags: dict[str, Any], command: tuple[str, ...], current: Session) -> RunSettings:
    concurrency = flags["app_max_concurrency"]
    return RunSettings(
        app_id=flags["app_id"],
        command=command,
        app_port=flags["app_port"],
        app_protocol=flags["app_protocol"],
        app_channel_address=flags["app_channel_address"] or "127.0.0.1",
        app_max_concurrency=concurrency if concurrency >= 1 else -1,
        app_ssl=flags["app_ssl"],
        config=_config(flags["config"], current),
        resources=_resources(flags, current.install),
        http_port=flags["dapr_http_port"],
        grpc_port=flags["dapr_grpc_port"],
        internal_grpc_port=flags["dapr_internal_grpc_port"],
        metrics_port=flags["metrics_port"],
        profile_port=flags["profile_port"],
        enable_profiling=flags["enable_profiling"],
        listen_addresses=flags["dapr_listen_addresses"],
        unix_domain_socket=flags["unix_domain_socket"],
        log_level=flags["log_level"],
        log_as_json=current.log_as_json,
        enable_api_logging=flags["enable_api_logging"],
        enable_python_components=flags["enable_python_components"],
        ready_line=flags["ready_line"],
        max_body_size=flags["max_body_size"],
        read_buffer_size=flags["read_buffer_size"],
        enable_app_health_check=flags["enable_app_health_check"],
        app_health_check_path=flags["app_health_check_path"],
        app_health_probe_interval=flags["app_health_probe_interval"],
        app_health_probe_timeout=flags["app_health_probe_timeout"],
        app_health_threshold=flags["app_health_threshold"],
        placement_host_address=flags["placement_host_address"],
        scheduler_host_address=flags["scheduler_host_address"],
        sentry_address=flags["sentry_address"],
        runtime_path=current.runtime_path,
    )


def _config(given: str | None, current: Session) -> str:
    if given is None:
        if current.install.config.is_file():
            return str(current.install.config)
        current.console.warning(
            f"{current.install.config} does not exist, going on without ('dapr init' writes it)"
        )
        return ""
    if given and not Path(given).is_file():
        problem = "is not a file" if Path(given).exists() else "does not exist"
        raise CliError(f"the configuration file {given} {problem}")
    return given


def _resources(flags: dict[str, Any], install: Install) -> tuple[str, ...]:
    given = flags["resources_path"] or (
        () if flags["components_path"] is None else (flags["components_path"],)
    )
    if given:
        return tuple(path for each in given for path in each.split(",") if path)
    return (_default_resources(install),)


def _default_resources(install: Install) -> str:
    if not install.components.is_dir():
        raise CliError(
            f"the resources path {install.components} does not exist", "Run 'dapr init' first."
        )
    return str(install.components)


def _run_file(given: str, command: tuple[str, ...], sentry_address: str) -> int:
    from dapr_cli.fleet import run_all
    from dapr_cli.stop_signals import own_process_group

    current = session()
    file = _read_file(given, current, command, kept=_KEPT_WITH_FILE | _KEPT_HERE)
    chooser = PortChooser(port for each in instances.running() for port in each.ports)
    apps = []
    for app in file.apps:
        for directory in app.resources:
            check_resources(Path(directory))
        if not app.command:
            current.console.warning(f"{app.app_id} has no command: only its sidecar runs")
        app = replace(app, log_as_json=current.log_as_json, sentry_address=sentry_address)
        apps.append(chooser.settle(app))
    with own_process_group():
        return asyncio.run(run_all(file, apps, current.console))


def _run_file_on_cluster(given: str, command: tuple[str, ...]) -> int:
    from dapr_cli.kube.runs.command import run_apps

    current = session()
    file = _read_file(given, current, command, kept=_KEPT_WITH_FILE)
    apps = [replace(app, log_as_json=current.log_as_json) for app in file.apps]
    return run_apps(apps, current.console)


def _read_file(
    given: str, current: Session, command: tuple[str, ...], *, kept: frozenset[str]
) -> RunFile:
    """The run file, after everything to know about it was said; ``kept`` flags count with it."""
    _warn_of_ignored(current, command, kept)
    if given == "-":
        file = parse(sys.stdin.read(), None, current.runtime_path)
    else:
        file = read(given, current.runtime_path)
    for warning in file.warnings:
        current.console.warning(warning)
    return file


def _warn_of_ignored(current: Session, command: tuple[str, ...], kept: frozenset[str]) -> None:
    context = click.get_current_context()
    from_line = click.core.ParameterSource.COMMANDLINE
    names = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and parameter.expose_value
        and parameter.name not in kept
        and context.get_parameter_source(parameter.name or "") is from_line
    ]
    names += [f"the command '{' '.join(command)}'"] if command else []
    if names:
        current.console.warning(f"Ignored with --run-file: {', '.join(names)}")
