"""``dapr uninstall``: remove the runtime, with ``--all`` everything of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from dapr_cli import instances, local_placement, local_sentry
from dapr_cli.console import Console
from dapr_cli.container_flags import container_flags
from dapr_cli.errors import CliError, reason
from dapr_cli.session import Verb, kubernetes_option, session, warn_of_unused


@click.command("uninstall", cls=Verb)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also configuration, components, data and certificates; with -k "
    "also Dapr's kinds and all their objects.",
)
@click.option("--dev", is_flag=True, help="With -k: also Redis and Zipkin of the official CLI.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="With -k: how long Helm waits for the cluster.",
)
@click.option(
    "-n",
    "--namespace",
    default="dapr-system",
    show_default=True,
    help="With -k: where the control plane lives.",
)
@container_flags
@kubernetes_option
def uninstall_command(
    kubernetes: bool, everything: bool, dev: bool, timeout: int, namespace: str
) -> None:
    """Remove the runtime, with -k from a Kubernetes cluster.

    On this machine: takes .dapr/bin and .dapr/runtime away; with --all the whole .dapr directory
    and what the embedded components stored there. What cannot be removed is reported; the exit
    code is 0, as with the official CLI.
    """
    if kubernetes:
        try:
            _uninstall_from_cluster(namespace, everything, dev, timeout)
        except CliError as error:
            session().console.report(error.message, error.hint)
    else:
        warn_of_unused(["dev", "timeout", "namespace"])
        _uninstall_here(everything)


def _uninstall_from_cluster(namespace: str, everything: bool, dev: bool, timeout: int) -> None:
    from dapr_cli.kube import control_plane
    from dapr_cli.kube.cluster import on_cluster
    from dapr_common.kube.client import KubeClient

    console = session().console

    async def work(client: KubeClient) -> None:
        if dev:
            await control_plane.uninstall_development(timeout, console)
        await control_plane.uninstall(
            client, namespace, everything=everything, seconds=timeout, console=console
        )

    on_cluster(work, warns=False)


def _uninstall_here(everything: bool) -> None:
    console, install = session().console, session().install
    if running := instances.running():
        names = ", ".join(sorted({instance.app_id for instance in running}))
        console.warning(f"Sidecars are running and go on until they are stopped: {names}")
    if local_placement.stop(install):
        console.success("The local placement service is stopped")
    if local_sentry.stop(install):
        console.success("The local sentry service is stopped")
    _remove(install.bin, console)
    if install.runtime.exists():
        _remove(install.runtime, console)
    if everything:
        _remove(install.root, console)
    elif install.root.exists():
        console.info(f"Configuration, components and data stay in {install.root} (see --all)")


def _remove(directory: Path, console: Console) -> None:
    if not directory.exists():
        console.warning(f"{directory} does not exist")
        return
    try:
        shutil.rmtree(directory)
    except OSError as error:
        console.failure(f"{directory} cannot be removed: {reason(error)}")
    else:
        console.success(f"{directory} is removed")
