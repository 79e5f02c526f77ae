"""``dapr dashboard``: the pages of this machine, or of a cluster."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from dapr_cli.errors import CliError
from dapr_cli.session import Verb, kubernetes_option, session, warn_of_unused

_PACKAGE = "dapr_dashboard"


@click.command("dashboard", cls=Verb)
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), default=8080, show_default=True,
    help="The port of the pages; 0 is any that is free.",
)  # fmt: skip
@click.option(
    "-a", "--address", default="localhost", show_default=True, help="The address of the pages."
)
@click.option(
    "-n",
    "--namespace",
    default="",
    help="The namespace the control plane is looked for in.  [default: all]",
)
@click.option("-v", "--version", is_flag=True, help="Print the dashboard's version and exit.")
@kubernetes_option
def dashboard_command(
    port: int, address: str, namespace: str, version: bool, kubernetes: bool
) -> None:
    """Show apps, components and their health as pages in your browser.

    Without -k of this machine; traces that sidecars send to Zipkin's port 9411 are shown when
    nobody else listens there. With -k of the cluster of your kubeconfig, with your own rights:
    nothing needs to be installed there. Ctrl-C ends it.
    """
    if find_spec(_PACKAGE) is None:
        raise CliError(
            f"the dashboard is not installed: the package {_PACKAGE} is missing",
            "Install this CLI again from where it came, with the extra 'dashboard', too.",
        )
    words = [sys.executable, "-m", _PACKAGE]
    if version:
        words.append("--version")
    else:
        if not kubernetes:
            warn_of_unused(["namespace"])
        words += [f"--port={port}", f"--address={address}"]
        words += [f"--runtime-path={session().install.root.parent}"]
        if kubernetes:
            words += ["--kubernetes", f"--control-plane-namespace={namespace}"]
        if session().log_as_json:
            words.append("--log-as-json")
    sys.stdout.flush()
    os.execv(sys.executable, words)  # noqa: S606 - its signals and its exit code are the command's
