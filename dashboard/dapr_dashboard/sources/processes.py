"""A ``daprd`` process of this machine → an application. Reads files of the process; no network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dapr_cli.instances import Instance, read_flags
from dapr_cli.processes import Process
from dapr_cli.sidecar_client import socket_path
from dapr_dashboard.masking import command
from dapr_dashboard.model import App, Place

_PROC = Path("/proc")
_TOKEN = "DAPR_API_TOKEN"  # noqa: S105 - a variable's name
HERE = "local"


def app_of(instance: Instance, process: Process, token: str) -> App:
    """``token`` is used when the process itself was not given one."""
    flags = read_flags(process.arguments)
    folder = _folder(process.pid)
    paths = [
        *values(process.arguments, "resources-path"),
        *values(process.arguments, "components-path"),
    ]
    metrics = instance.metrics_enabled and instance.metrics_port
    return App(
        namespace=HERE,
        name=str(instance.daprd_pid),
        app_id=instance.app_id,
        created=instance.created,
        place=Place(
            api=f"http://127.0.0.1:{instance.http_port}",
            metrics=f"http://127.0.0.1:{metrics}/" if metrics else "",
            socket=socket_path(instance.unix_domain_socket, instance.app_id),
            token=_token(process.pid) or token,
        ),
        facts={
            "App port": _port(instance.app_port),
            "App protocol": flags.get("app-protocol", "http"),
            "HTTP port": _port(instance.http_port),
            "gRPC port": _port(instance.grpc_port),
            "Metrics port": _port(instance.metrics_port if metrics else 0),
            "Sidecar's process": str(instance.daprd_pid),
            "Sidecar's command": command(_called(process.arguments)),
            "Placement": flags.get("placement-host-address", ""),
            "Scheduler": flags.get("scheduler-host-address", ""),
            "Sentry": flags.get("sentry-address", ""),
        },
        configuration=_first(_absolute(values(process.arguments, "config"), folder)),
        resources=_absolute(paths, folder),
    )


def _called(arguments: Sequence[str]) -> list[str]:
    """As people call it: without the interpreter and the folders of programs."""
    flags = next((n for n, word in enumerate(arguments) if word.startswith("--")), len(arguments))
    return ["daprd", *arguments[flags:]]


def values(arguments: Sequence[str], name: str) -> list[str]:
    """All values of a flag that may be given more than once, each a list with commas."""
    found: list[str] = []
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or flag != name:
            continue
        if not equals:
            value = arguments[position + 1] if position + 1 < len(arguments) else ""
        found += [part for part in value.split(",") if part]
    return found


def _absolute(paths: Sequence[str], folder: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(folder / path) for path in paths))


def _first(paths: Sequence[str]) -> str:
    return paths[0] if paths else ""


def _folder(pid: int) -> Path:
    """What the paths of its flags are relative to."""
    try:
        return (_PROC / str(pid) / "cwd").readlink()
    except OSError:
        return Path.cwd()


def _token(pid: int) -> str:
    """The API token the sidecar was given; only its own user can read that."""
    return environment(pid).get(_TOKEN, "")


def environment(pid: int) -> Mapping[str, str]:
    """The variables a process was started with; none when they may not be read."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in raw.split(b"\0"))
    return {name: value for name, equals, value in pairs if equals}


def _port(number: int) -> str:
    return str(number) if number > 0 else ""
