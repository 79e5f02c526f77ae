"""Running sidecars: what their command line says, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dapr_cli.processes import Process, daprd_processes
from dapr_cli.sidecar_client import SidecarClient, SidecarError, socket_path
from dapr_common.durations import parse_quantity

_AT_ONCE = 16
_TRUE = frozenset({"1", "t", "true", "T", "TRUE", "True"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One sidecar. Sizes in bytes; a pid of 0 is not known."""

    app_id: str
    http_port: int
    grpc_port: int
    app_port: int
    metrics_port: int
    metrics_enabled: bool
    unix_domain_socket: str
    max_body_bytes: int
    read_buffer_bytes: int
    created: datetime
    daprd_pid: int
    parent_pid: int
    internal_grpc_port: int = 0
    """0 when it is not told on the command line."""
    mtls: bool = False
    sentry_address: str = ""
    cli_pid: int = 0
    app_pid: int = 0
    command: str = ""
    run_template_path: str = ""
    run_template_name: str = ""
    app_log_path: str = ""
    daprd_log_path: str = ""

    @property
    def client(self) -> SidecarClient:
        return SidecarClient(self.http_port, socket_path(self.unix_domain_socket, self.app_id))

    @property
    def ports(self) -> frozenset[int]:
        """The ports it listens on."""
        own = {self.http_port, self.grpc_port, self.internal_grpc_port, self.metrics_port}
        return frozenset(own - {0})


def running() -> list[Instance]:
    """Every running sidecar that has an app id, as far as its command line tells."""
    known = [(process, read_flags(process.arguments)) for process in daprd_processes()]
    return [_instance(process, flags) for process, flags in known if flags.get("app-id")]


def asked(found: Sequence[Instance]) -> list[Instance]:
    """The same with what the sidecars say of themselves; one that does not answer stays as is."""
    if not found:
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_ask, found))


def read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """``--flag value``, ``--flag=value`` and lone flags; the last one wins."""
    flags: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and _is_value(rest[0]) else "true"
        flags[name] = value
    return flags


def _is_value(text: str) -> bool:
    return not text.startswith("-") or text[1:].isdigit()


def _instance(process: Process, flags: Mapping[str, str]) -> Instance:
    return Instance(
        app_id=flags["app-id"],
        http_port=_number(flags, "dapr-http-port", 3500),
        grpc_port=_number(flags, "dapr-grpc-port", 50001),
        app_port=_number(flags, "app-port", 0),
        internal_grpc_port=_number(flags, "dapr-internal-grpc-port", 0),
        metrics_port=_number(flags, "metrics-port", 9090),
        metrics_enabled=flags.get("enable-metrics", "true") in _TRUE,
        unix_domain_socket=flags.get("unix-domain-socket", ""),
        max_body_bytes=_size(flags, "max-body-size", 4 << 20),
        read_buffer_bytes=_size(flags, "read-buffer-size", 4 << 10),
        created=process.started,
        daprd_pid=process.pid,
        parent_pid=process.parent,
        sentry_address=flags.get("sentry-address", ""),
        mtls=flags.get("enable-mtls", "false") in _TRUE,
    )


def _ask(instance: Instance) -> Instance:
    extended = _extended(instance.client, instance.app_id)
    return replace(
        instance,
        cli_pid=_number(extended, "cliPID", 0),
        app_pid=_number(extended, "appPID", 0),
        command=extended.get("appCommand", ""),
        run_template_path=extended.get("runTemplatePath", ""),
        run_template_name=extended.get("runTemplateName", ""),
        app_log_path=extended.get("appLogPath", ""),
        daprd_log_path=extended.get("daprdLogPath", ""),
    )


def _extended(client: SidecarClient, app_id: str) -> dict[str, str]:
    try:
        metadata: dict[str, Any] = client.metadata()
    except SidecarError:
        return {}  # it is starting, stopping or wants a token: the command line has to do
    if metadata.get("id", app_id) != app_id:
        return {}  # another sidecar has taken the port
    extended = metadata.get("extended")
    return {k: str(v) for k, v in extended.items()} if isinstance(extended, dict) else {}


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(values.get(name) or default)
    except ValueError:
        return default


def _size(flags: Mapping[str, str], name: str, default: int) -> int:
    try:
        return parse_quantity(flags[name]) if flags.get(name) else default
    except ValueError:
        return default
