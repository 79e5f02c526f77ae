"""What ``invoke`` and ``publish`` send, and the sidecar they send it to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dapr_cli import instances
from dapr_cli.errors import CliError
from dapr_cli.sidecar_client import SidecarClient, socket_path

F = TypeVar("F", bound=Callable[..., Any])


def data_file_option(what: str) -> Callable[[F], F]:
    """``--data-file`` of a command whose data are called ``what``."""
    return click.option(
        "-f",
        "--data-file",
        "data_file",
        metavar="FILE",
        type=click.Path(allow_dash=True),
        help=f"A file with the {what}, - for stdin.",
    )


def socket_option(function: F) -> F:
    """``--unix-domain-socket``."""
    return click.option(
        "-u",
        "--unix-domain-socket",
        metavar="DIR",
        type=click.Path(file_okay=False),
        default="",
        help="Its socket's folder.",
    )(function)


def read_payload(data: str | None, file: str | None) -> bytes | None:
    """The text given, or a file's content (``-`` is the standard input)."""
    if data is not None and file is not None:
        raise click.UsageError("only one of --data and --data-file is allowed")
    if file is None:
        return data.encode() if data is not None else None
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CliError(f"the data file {file} cannot be read: {error.strerror}") from error


def sidecar_of(app_id: str, socket_directory: str) -> SidecarClient:
    """A running sidecar of the app. Raises ``CliError``."""
    found = [instance for instance in instances.running() if instance.app_id == app_id]
    if not found:
        raise CliError(
            f"couldn't find app id {app_id}", "'dapr list' shows the apps that are running."
        )
    if socket_directory:
        return SidecarClient(found[0].http_port, socket_path(socket_directory, app_id))
    return found[0].client
